"""FP16: its largest number, and a converter pass that replaces the one of coremltools which casts to FP16."""

from __future__ import annotations

from typing import Any

import numpy as np

from forced_aligner.package.coremltools_internals import FP16ComputePrecision, register_pass

FP16_MAX = 65_504.0
INFINITE = 1e38  # coremltools treats a larger constant as a mask's infinity, which may become FP16's infinity
ADD_FP16_CAST = "forced_aligner::add_fp16_cast"


@register_pass(namespace="forced_aligner", name="add_fp16_cast")
class AddFP16Cast(FP16ComputePrecision):  # type: ignore[misc]  # coremltools has no types
    """coremltools' cast to FP16, with a check for overflowing constants that needs no index array.

    coremltools checks with `numpy.where`, which allocates 8 bytes for each weight and axis: the 0.6B model's token
    embedding took 6.2 GB and 15 s.
    """

    @staticmethod
    def fp16_overflow(op: Any) -> bool:
        """Whether an input of `op` is a constant that FP16 cannot hold."""
        inputs = [
            var for value in op.inputs.values() for var in (value if isinstance(value, list | tuple) else [value])
        ]
        return any(_overflows(var.op.val.val) for var in inputs if _is_float32_constant(var))

    def _check_underflow_to_zero(self, new_var: Any, var: Any) -> None:
        if np.size(var.val) < 400:  # coremltools has the same limit, but copies the array to count its elements
            super()._check_underflow_to_zero(new_var, var)


def _is_float32_constant(var: Any) -> bool:
    return var.op is not None and var.op.op_type == "const" and var.is_tensor_or_scalar_of(dtype="fp32")


def _overflows(value: Any) -> bool:
    values = np.asarray(value)
    if max(values.max(initial=0.0), -values.min(initial=0.0)) <= FP16_MAX:
        return False
    magnitudes = np.abs(values)
    return bool((magnitudes[magnitudes < INFINITE] > FP16_MAX).any())
