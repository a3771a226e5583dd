"""What a test sees of the double: what was asked of it, and what it shall refuse."""

from __future__ import annotations

import weakref
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .errors import core_ml_error
from .lifetime import InputWatch

if TYPE_CHECKING:
    from .proxy import ModelProxy


class Load(NamedTuple):
    """A function that was loaded.

    Attributes:
        package: the name of its package, such as `forced_aligner_lm_head.mlpackage`.
        function: its name; empty for a package of one function, whose function has none in Core ML.
        units: the name of coremltools' compute unit, such as `CPU_AND_NE`.
    """

    package: str
    function: str
    units: str


class CoreMLDouble:
    """The double of one test.

    Attributes:
        macos: the version of macOS that it poses as; change it to test an older one.
        compiles: how often each package was compiled, by name.
        loads: every load, in order.
        predictions: how often each loaded function predicted.
        plans: every compute plan, as (package, units), in order.
        most_alive: the largest number of functions that were loaded at once.
    """

    def __init__(self, scratch: Path) -> None:
        """Keep new compiled folders in `scratch` until the caller moves them."""
        self.macos: tuple[int, ...] = (15, 5)
        self.compiles = Counter[str]()
        self.loads: list[Load] = []
        self.predictions = Counter[Load]()
        self.plans: list[tuple[str, str]] = []
        self.most_alive = 0
        self.inputs = InputWatch()
        self.scratch = scratch
        self._alive: weakref.WeakSet[ModelProxy] = weakref.WeakSet()
        self._refused_packages: dict[str | None, str] = {}
        self._refused_units: dict[str, str] = {}

    def refuse_compile(self, reason: str, package: str | None = None) -> None:
        """From now on, fail to compile `package` (its name), or any, with Core ML's kind of error."""
        self._refused_packages[package] = reason

    def refuse_units(self, units: str, reason: str) -> None:
        """From now on, fail to load a function for the compute unit `units`, with Core ML's kind of error."""
        self._refused_units[units] = reason

    def alive(self) -> set[Load]:
        """The functions that are loaded now. Garbage that is not collected yet still holds its memory, so it counts."""
        return {proxy.load for proxy in self._alive}

    @property
    def left_behind(self) -> list[Path]:
        """Compiled folders that nobody has moved away or deleted."""
        return sorted(self.scratch.glob("*/*"))

    def let_time_pass(self, seconds: float) -> None:
        """Let Core ML be idle for `seconds`, without sleeping: after 2 s it holds no inputs."""
        self.inputs.let_time_pass(seconds)

    def check_inputs_alive(self) -> None:
        """Look whether an input array died while Core ML may still hold it.

        The fixture does so after each test. What was told once is not told again.

        Raises:
            AssertionError: one did. On macOS the heap may be broken now.
        """
        faults = self.inputs.faults()
        assert not faults, f"Core ML may still hold these inputs, and {'; '.join(faults)} (coremltools pull 2827)"

    def note_compile(self, package: str) -> None:
        """Count a compile, which a test may have forbidden."""
        self.compiles[package] += 1
        reason = self._refused_packages.get(package, self._refused_packages.get(None))
        if reason is not None:
            raise core_ml_error(reason)

    def note_load(self, proxy: ModelProxy) -> None:
        """Count a load, which a test may have forbidden."""
        self.loads.append(proxy.load)
        if proxy.load.units in self._refused_units:
            raise core_ml_error(self._refused_units[proxy.load.units])
        self._alive.add(proxy)
        self.most_alive = max(self.most_alive, len(self._alive))
