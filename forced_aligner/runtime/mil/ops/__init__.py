"""The ops of the MIL runtime, each a small PyTorch function in the table of `registry.py`.

Names and arguments are those of coremltools' op definitions. An FP16 argument reaches a function as float32,
and the result is rounded to the type that the program declares: so every FP16 op rounds, and overflows, once.
"""

from forced_aligner.runtime.mil.ops import axes, compressed_weights, elementwise, moving, products
from forced_aligner.runtime.mil.registry import TABLE, lookup

__all__ = ["TABLE", "axes", "compressed_weights", "elementwise", "lookup", "moving", "products"]
