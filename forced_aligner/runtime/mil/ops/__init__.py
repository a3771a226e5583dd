"""The ops of the MIL runtime, each a small PyTorch function in the table of `registry.py`.

Names and arguments are those of coremltools' op definitions. A function gets its FP16 arguments as float32, unless
it is registered with `takes_fp16`, and its result is rounded to the type that the program declares. So every FP16 op
rounds, and overflows, once.
"""

from forced_aligner.runtime.mil.ops import axes, compressed_weights, elementwise, moving, products
from forced_aligner.runtime.mil.registry import TABLE, lookup

__all__ = ["TABLE", "axes", "compressed_weights", "elementwise", "lookup", "moving", "products"]
