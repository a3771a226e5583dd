"""Where PyTorch computes: the MIL runtime and the reference."""

from __future__ import annotations

from forced_aligner.base.errors import UserError
from forced_aligner.runtime.names import DeviceName


def require_device(name: DeviceName) -> None:
    """Refuse a device that PyTorch does not have here; on a GPU, float32 is to be float32 and not TF32.

    Raises:
        UserError: it does not.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda needs an NVIDIA GPU that PyTorch sees, and it sees none; use --device cpu")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
