"""A test double of Core ML. It is not Core ML, and no figure comes from it: no time, no memory, no device, no accuracy.

It stands in for `coremltools.libcoremlpython` alone, the C++ layer that only macOS has. coremltools' own Python code
(`compile_model`, `CompiledMLModel`, `MLComputePlan`) runs for real over it, with its own checks. The MIL runtime
computes the values. Use it by the fixture `core_ml` of `tests/conftest.py`; a test gets a `double.CoreMLDouble`.

Sources are files, issues and pull requests of apple/coremltools, unless they say otherwise. As Core ML and coremltools:

- A package needs a macOS that knows its specification version (coremltools/__init__.py). Function names need macOS 15,
  and compute plans 14.4 (coremlpython/CoreMLPython.mm).
- An input is a numpy array of a type that Core ML has, and writable (CoreMLPythonArray.mm: `dataTypeOf`,
  `mutable_data()`; CoreMLPythonUtils.mm: `convertValueToObjC`; issues 194 and 1689).
- An input has a shape that the package declares, and none is missing (issues 672 and 1991).
- An output is float32 or int32, never float16 (CoreMLPythonUtils.mm: `convertArrayValueToPython`).
- An error of the framework is a printed dictionary of several lines (CoreMLPythonUtils.mm: `handleError`).
- A compute plan of a folder that is not compiled ends the process (issue 2757): here it ends the test.
- A compute plan is of the default function alone, see `compute_plan`.

Stricter, where Core ML would take a mistake silently, or only sometimes fail:

- A loader takes a compiled folder alone. `Model::Model` in CoreMLPython.mm would compile a package again, each time.
- A function is named exactly where a package has several. Core ML would take the default one, the shortest decoder
  (Apple, `MLModelConfiguration.functionName`).
- An input has the declared type. Core ML converts some types, which costs a copy at each call.
- An input is C-contiguous, and numpy owns its memory. Core ML would read by strides, in place (CoreMLPythonArray.mm).
- No input is unknown. Of coremltools' classes only `MLModel` asks for that (models/model.py:
  `_verify_input_name_exists`).
- An input outlives `predict` by 2 s, always. On macOS its death is a race that sometimes breaks the heap (pull requests
  2827 and 2829), see `lifetime`.
- The rows of an output lie apart, with NaN between them. Core ML pads rows (5,000 scores have a stride of 5,008 in
  Swift), but coremltools hands out a copy: `convertArrayValueToPython` makes a `py::array` without a base, whose memory
  pybind11 copies (numpy.h: `PyArray_NewCopy`). So each output is its caller's, and no later `predict` overwrites it.
"""
