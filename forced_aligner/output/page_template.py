"""Pages that show results in a browser. A page is one file, and loads nothing, save a recording that it links to."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps

from forced_aligner.base.text import visible
from forced_aligner.output.own_files import generator

SOURCES = Path(__file__).with_name("page")
# The style and the script of each page are put together from these files. Its template is NAME.html.
PAGES = {
    "alignment": ("base.css", "alignment.css", "alignment.js"),
    "results": ("base.css", "tables.css", "tables.js"),
    "parity": ("base.css", "tables.css", "parity.css", "tables.js", "parity.js"),
}


def render(name: str, data: object, audio: str = "data:", **values: Any) -> str:
    """A page of the files in the folder `page`, with a policy that forbids everything else.

    Args:
        name: one of `PAGES`.
        data: what the script shows. It goes in as JSON in ASCII, in which `<`, `>`, `&` and `'` are escaped.
        audio: a data URI, or a relative address. A page that has its audio in `data` needs none.
        values: what else the template names. They are escaped.
    """
    style, script = (
        "".join((SOURCES / file).read_text(encoding="utf-8") for file in PAGES[name] if file.endswith(kind))
        for kind in (".css", ".js")
    )
    policy = {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "img-src": "data:",
        "media-src": "data:" if audio.startswith("data:") else "'self'",
        "style-src": source_hash(style),
        "script-src": source_hash(script),
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SOURCES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["visible"] = visible
    return environment.get_template(f"{name}.html").render(
        generator=generator(name),
        policy="; ".join(f"{key} {source}" for key, source in policy.items()),
        style=style,
        script=script,
        data=htmlsafe_json_dumps(data, dumps=json.dumps, allow_nan=False, separators=(",", ":")),
        audio=audio,
        **values,
    )


def source_hash(source: str) -> str:
    """The source expression with which a Content-Security-Policy allows an inline style or script."""
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
