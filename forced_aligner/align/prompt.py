"""The tokens of the prompt: `<|audio_start|>`, a pad for each audio token, `<|audio_end|>`, and each word with two
`<timestamp>`, as the chat template of the checkpoint's processor lays them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from forced_aligner.base.errors import UserError
from forced_aligner.base.reading import read_bytes
from forced_aligner.checkpoint.processor import MAX_TOKENIZER_BYTES, PROMPT_TOKENS, TOKENIZER_FILE, one_sentence
from forced_aligner.package.metadata import TokenIds

if TYPE_CHECKING:
    from transformers import Qwen3ASRProcessor

PROMPT_MARKS = 2  # <|audio_start|> and <|audio_end|>


class Prompt:
    """Makes prompts, with the `tokenizers` library alone: transformers takes seconds to load."""

    def __init__(self, tokenizer: Tokenizer, token_ids: TokenIds) -> None:
        """Take a tokenizer, which is nobody else's, and the numbers of the special tokens.

        Raises:
            UserError: the tokenizer numbers them in another way.
        """
        found = {name: tokenizer.token_to_id(token) for name, token in PROMPT_TOKENS.items()}
        if found != (expected := token_ids.model_dump()):
            raise UserError(
                f"the tokenizer's special tokens, {found}, are not those of metadata.json, {expected}: "
                "convert the model with convert-coreml.py"
            )
        tokenizer.no_padding()  # as transformers leaves it after a batch, and as a file may have it
        tokenizer.no_truncation()
        self._tokenizer, self._token_ids = tokenizer, token_ids

    @classmethod
    def open(cls, folder: Path, token_ids: TokenIds) -> Prompt:
        """That of a converted folder.

        Raises:
            UserError: its tokenizer is missing, damaged, or not that of the metadata.
        """
        content = read_bytes(folder / TOKENIZER_FILE, MAX_TOKENIZER_BYTES, "a tokenizer")
        with one_sentence(folder):
            return cls(Tokenizer.from_buffer(content), token_ids)

    @classmethod
    def of_processor(cls, processor: Qwen3ASRProcessor, token_ids: TokenIds) -> Prompt:
        """That of a checkpoint, with a copy of its processor's tokenizer.

        Raises:
            UserError: see above.
        """
        return cls(Tokenizer.from_str(processor.tokenizer.backend_tokenizer.to_str()), token_ids)

    def ids(self, words: Sequence[str], audio_tokens: int) -> NDArray[np.int32]:
        """(n,) token ids, with one pad for each of the `audio_tokens`."""
        special = self._token_ids
        ids = [special.audio_start, *[special.audio_pad] * audio_tokens, special.audio_end]
        for word in self._words(words):
            ids += [*word, special.timestamp, special.timestamp]
        return np.array(ids, dtype=np.int32)

    def word_tokens(self, words: Sequence[str]) -> NDArray[np.int64]:
        """How many prompt tokens each word takes, with its two `<timestamp>`: (words,)."""
        return np.array([len(ids) + 2 for ids in self._words(words)])

    def _words(self, words: Sequence[str]) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch_fast(list(words), add_special_tokens=False)
        return [word.ids for word in encoded]
