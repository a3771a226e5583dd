"""The backend that runs packages with the MIL runtime, on any machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from forced_aligner.package.bundle import Bundle
from forced_aligner.runtime.device import require_device
from forced_aligner.runtime.options import DeviceName
from forced_aligner.runtime.protocol import Arrays
from forced_aligner.runtime.threads import computing_with, threads_for

if TYPE_CHECKING:
    from forced_aligner.runtime.mil.program import Observer, Program


class MilBackend:
    """The MIL runtime over the saved packages. Each package is loaded on first use and kept."""

    name = "mil"

    def __init__(
        self,
        bundle: Bundle,
        observers: Mapping[str, Observer] | None = None,
        device: DeviceName = "cpu",
        threads: int | None = None,
    ) -> None:
        """Check the device; the packages are loaded later.

        Args:
            bundle: the converted folder.
            observers: by component; each is called after every op, see `forced_aligner.runtime.mil.program.Function`.
            device: the PyTorch device that the ops run on.
            threads: of PyTorch, for every function; `None`: by the work of each function, see `runtime.threads`.

        Raises:
            UserError: PyTorch has no such device.
        """
        self._bundle = bundle
        self._observers = observers or {}
        require_device(device)
        self._device = device
        self._threads = threads
        self.most_threads: int | None = None
        self.computes_on: str = device
        self._programs: dict[str, Program] = {}

    def prepare(self, component: str) -> None:
        """Read the package's program and map its weights into memory, if that is not done yet.

        Raises:
            UserError: see `forced_aligner.runtime.mil.program.Program`.
        """
        from forced_aligner.runtime.mil.program import Program  # and PyTorch, which takes a second to load

        if component not in self._programs:
            observer = self._observers.get(component)
            self._programs[component] = Program(self._bundle.package(component), observer, self._device)

    def load(self, component: str, function: str) -> None:
        """Plan `function` of `component`, if it is not planned yet.

        Raises:
            UserError: see `forced_aligner.runtime.mil.program.Program`.
        """
        self.prepare(component)
        self._programs[component].function(function)

    def unload(self, component: str, function: str) -> None:
        """Drop the plan of `function`, if there is one. The weights stay mapped."""
        if component in self._programs:
            self._programs[component].drop(function)

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run `function` of `component`: arrays by input name -> arrays by output name."""
        self.load(component, function)
        planned = self._programs[component].function(function)
        threads = self._threads or threads_for(planned.work)
        self.most_threads = max(self.most_threads or 0, threads)
        with computing_with(threads):
            return planned(inputs)
