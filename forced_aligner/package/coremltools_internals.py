"""Everything of coremltools that is not its public interface, as read in version 9.0.

An upgrade of coremltools has to look at these names alone.

- `create_scalar_value`, `create_file_value_tensor`: make the protobuf values of a MIL program, inline and in the weight
  file (`converters/mil/backend/mil/helper.py`).
- `BlobStorageWriter`: writes the weight file (`libmilstoragepython`, compiled). It has one method for each type, and
  completes the file's header when it is destroyed.
- `linear_quantize_weights`, `palettize_weights`: the `blockwise_compress` behind `coremltools.optimize.coreml`. The
  public functions take a whole model, these take one weight (`optimize/coreml/_quantization_passes.py`).
- `Program`: a MIL program; its `validate` is run after each pass (`converters/mil/mil/program.py`). The one that was
  saved is `MLModel._mil_program`.
- `FP16ComputePrecision`, `register_pass`: the pass that casts to FP16 and the registry in which a pass replaces another
  (`converters/mil/mil/passes`).

Relied on without an import: the names that `NameSanitizer` gives to saved ops (`convert/tracing.py`), and the layout of
the weight file, MILBlob's StorageFormat.hpp (`package/weight_file.py`). The classes of `coremltools.proto` need nothing
else of coremltools (`package/proto.py`). Core ML's own refusal of a model comes through
`MLModel.__proxy__` and `MLModel._framework_error` (`runtime/coreml.py`).
"""

from coremltools.converters.mil.backend.mil.helper import create_file_value_tensor, create_scalar_value
from coremltools.converters.mil.mil.passes.defs.quantization import FP16ComputePrecision
from coremltools.converters.mil.mil.passes.pass_registry import register_pass
from coremltools.converters.mil.mil.program import Program
from coremltools.libmilstoragepython import _BlobStorageWriter as BlobStorageWriter
from coremltools.optimize.coreml._quantization_passes import linear_quantize_weights, palettize_weights

__all__ = [
    "BlobStorageWriter",
    "FP16ComputePrecision",
    "Program",
    "create_file_value_tensor",
    "create_scalar_value",
    "linear_quantize_weights",
    "palettize_weights",
    "register_pass",
]
