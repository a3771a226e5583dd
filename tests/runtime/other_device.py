"""A device that is not the CPU, pretended on the CPU: as strict as a GPU, and with values.

PyTorch's meta device refuses most tensors that were left on the CPU, but it has no values, so a program that reads one
(`gather` looks whether its indices are inside) cannot run on it. Here a tensor says that it is on the meta device, and
holds its values on the CPU.
"""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE, CPU = torch.device("meta"), torch.device("cpu")


class Elsewhere(torch.Tensor):
    """A tensor of the other device; `held` has its values."""

    @staticmethod
    def __new__(cls, held):
        shape, strides, dtype = held.shape, held.stride(), held.dtype
        with torch.inference_mode():  # programs run in it, and it has no views of tensors from outside
            made = torch.Tensor._make_wrapper_subclass(cls, shape, strides=strides, dtype=dtype, device=DEVICE)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise AssertionError(f"{function} got a tensor of the other device outside of it")


class _Ops(TorchDispatchMode):
    """Computes each op on the values, and refuses one that gets tensors of both devices."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = (args, kwargs or {})
        leaves = tree_leaves(given)
        there = any(isinstance(leaf, Elsewhere) for leaf in leaves)
        # As on a GPU, a CPU tensor of rank 0 counts as a number.
        if there and any(type(leaf) is torch.Tensor and leaf.dim() for leaf in leaves):
            raise RuntimeError(f"{function} gets tensors on the CPU and on the other device")
        for asked in (leaf for leaf in leaves if isinstance(leaf, torch.device)):
            there = asked == DEVICE
        given = tree_map_only(Elsewhere, lambda tensor: tensor.held, given)
        args, kwargs = tree_map_only(torch.device, lambda _: CPU, given)
        result = function(*args, **kwargs)
        return tree_map_only(torch.Tensor, Elsewhere, result) if there else result


class _Functions(TorchFunctionMode):
    """What PyTorch does before any op is seen: tensors made of Python numbers, and the way back."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.tensor and kwargs.get("device") == DEVICE:
            return Elsewhere(function(*args, **{**kwargs, "device": CPU}))
        if function is torch.Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].held.tolist()
        return function(*args, **kwargs)


@contextmanager
def other_device():
    """Within it, `DEVICE` is a device of its own."""
    with _Functions(), _Ops():
        yield
