"""A step of each row of a compare file, in turn with that of one of them."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from crld_zoo.errors import InputError

from .compare import OURS, Setting, Side, speed
from .setup import Options, in_way
from .timing import Spread


class Cost(NamedTuple):
    """What a step of a row costs.

    Attributes:
        speeds: Images a second, once a repeat.
        ratios: How many times as fast as the baseline it is, likewise: both were measured in turn.
        peak_memory: Bytes that the process held at most, as :func:`~crld_zoo.benchmark.machine.peak_memory` counts.
    """

    speeds: list[float]
    ratios: list[float]
    peak_memory: int

    def to_dict(self) -> dict:
        """For JSON."""
        return dict(
            images_per_second=Spread.of(self.speeds)._asdict(),
            ratio=Spread.of(self.ratios)._asdict(),
            **self._asdict(),
        )


def time_rows(
    rows: Mapping[str, Options],
    baseline: str,
    repeats: int,
    seconds: float,
    threads: int,
    together: int = 6,
) -> Iterator[tuple[str, Cost]]:
    """Time recipes through the Runner, each against the same one.

    Each row has a process of its own, so that each has its own peak of memory; only one works at a time. The baseline's
    lives to the end. The others come in groups, since many at once may not fit into memory. Within a group each repeat
    measures the baseline, then every row.

    Args:
        rows: What is measured, by name.
        baseline: One of the names.
        repeats: How often every row is measured.
        seconds: How long a measurement lasts, about.
        threads: Torch's.
        together: How many rows a group has.

    Yields:
        Name and cost of each row when it is known; the baseline's last, over all groups.

    Raises:
        InputError: A row cannot be measured, and which.
    """
    setting = Setting(threads, 0)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as all_of_it:

        def start(name: str, until: contextlib.ExitStack) -> Side:
            options = rows[name]
            way = OURS[options.amp]
            return until.enter_context(contextlib.closing(Side(way, in_way(options, way), Path(scratch, name))))

        def ready(name: str, side: Side) -> int:
            """The steps of a measurement."""
            try:
                side.wait()
            except InputError as error:
                raise type(error)(f"the row '{name}': {error}") from error
            side.run(setting, 1)  # the first steps ask for memory
            return math.ceil(seconds / side.run(setting, 1).seconds)

        base = start(baseline, all_of_it)
        base_steps = ready(baseline, base)
        base_speeds: list[float] = []
        others = iter([name for name in rows if name != baseline])
        while names := list(islice(others, together)):
            with contextlib.ExitStack() as group:
                sides = {name: start(name, group) for name in names}
                steps = {name: ready(name, side) for name, side in sides.items()}
                speeds: dict[str, list[float]] = {name: [] for name in names}
                before = len(base_speeds)
                for _ in range(repeats):
                    base_speeds.append(speed(base.run(setting, base_steps)))
                    for name, side in sides.items():
                        speeds[name].append(speed(side.run(setting, steps[name])))
                for name, side in sides.items():
                    ratios = [ours / base for ours, base in zip(speeds[name], base_speeds[before:], strict=True)]
                    yield name, Cost(speeds[name], ratios, side.memory())
        yield baseline, Cost(base_speeds, [1.0] * len(base_speeds), base.memory())
