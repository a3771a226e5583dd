"""The MIL runtime behind the protocol of all runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from forced_aligner.package.bundle import Bundle
from forced_aligner.runtime.device import require_device
from forced_aligner.runtime.names import DeviceName

if TYPE_CHECKING:
    from forced_aligner.runtime.mil.program import Observer


from forced_aligner.runtime.protocol import Arrays


class MilBackend:
    """The MIL runtime over the saved packages; each is loaded on first use and kept."""

    name = "mil"

    def __init__(
        self, bundle: Bundle, observers: Mapping[str, Observer] | None = None, device: DeviceName = "cpu"
    ) -> None:
        """Load nothing yet.

        Args:
            bundle: the converted folder.
            observers: see every op that runs, by component; see `forced_aligner.mil.program.Function`.
            device: where the ops run.

        Raises:
            UserError: there is no such device.
        """
        from forced_aligner.runtime.mil.program import Program

        self._program = Program
        self._bundle = bundle
        self._observers = observers or {}
        require_device(device)
        self._device = device
        self._programs: dict[str, Program] = {}

    def load(self, component: str, function: str) -> None:
        """Map the package, and plan `function`."""
        if component not in self._programs:
            observer = self._observers.get(component)
            self._programs[component] = self._program(self._bundle.package(component), observer, self._device)
        self._programs[component].function(function)

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run `function` of `component`."""
        self.load(component, function)
        return self._programs[component].function(function)(inputs)
