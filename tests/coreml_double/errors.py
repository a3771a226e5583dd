"""Errors in Core ML's form."""


def core_ml_error(reason: str) -> RuntimeError:
    """A framework error as coremltools raises it: the printed `userInfo` of an NSError, which has several lines.

    Source: coremlpython/CoreMLPythonUtils.mm, `Utils::handleError`.
    """
    return RuntimeError(f'{{\n    NSLocalizedDescription = "{reason}";\n}}')


def not_convertible(reason: str) -> RuntimeError:
    """What coremltools raises over a value that it cannot hand to Core ML. The reason is the double's own addition.

    Source: coremlpython/CoreMLPythonUtils.mm, `Utils::convertValueToObjC`, which drops the reason; issue 1689.
    """
    return RuntimeError(f"value type not convertible ({reason})")
