"""The device on which PyTorch computes, for the MIL runtime and for the reference."""

from __future__ import annotations

from forced_aligner.base.errors import UserError
from forced_aligner.base.machine import chip_name
from forced_aligner.runtime.options import DeviceName


def require_device(name: DeviceName) -> None:
    """Refuse a device that PyTorch does not have here, and turn TF32 off, so that a GPU computes in full float32.

    Raises:
        UserError: PyTorch has no such device.
    """
    if name == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise UserError("--device cuda needs an NVIDIA GPU that PyTorch sees, and it sees none; use --device cpu")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def processor_name(computes_on: str) -> str:
    """The name of what computes: the GPU for PyTorch's device `cuda`, else the processor."""
    if computes_on != "cuda":
        return chip_name()
    import torch

    return torch.cuda.get_device_name()
