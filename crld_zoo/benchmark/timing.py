"""Timing: what a clock sees, and how much the figures of one run differ."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch

from crld_zoo.errors import InputError

from .machine import joules_used


class Spread(NamedTuple):
    """Several measurements of one thing.

    Attributes:
        median: The one in the middle.
        low: The smallest.
        high: The largest.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def scaled(self, change: Callable[[float], float]) -> Spread:
        """Of the values after a change that keeps or reverses their order."""
        median, *ends = map(change, self)
        return Spread(median, *sorted(ends))


class Clock:
    """Times work on a device: by events on a GPU, by the wall on the CPU.

    Args:
        device: Where the work is done.
        processor_time: Count the seconds that this process has the processor, its threads added up, not those on the
            wall. With one thread and no loader workers the two are equal, but for what other processes take away.

    Raises:
        InputError: Processor time says nothing about a GPU.
    """

    def __init__(self, device: torch.device, processor_time: bool = False) -> None:
        self.device = device
        self.on_gpu = device.type == 'cuda'
        if self.on_gpu and processor_time:
            raise InputError('processor time says nothing about a GPU: leave --processor-time out.')
        self.read = time.process_time if processor_time else time.perf_counter

    def now(self) -> float:
        """Seconds, after all that the device was told to do is done."""
        if self.on_gpu:
            torch.cuda.synchronize()
        return self.read()

    def joules(self) -> float:
        """What the device has used when all of that is done, see :func:`~crld_zoo.benchmark.machine.joules_used`."""
        if self.on_gpu:
            torch.cuda.synchronize()
        return joules_used(self.device)

    def time(self, work: Callable[[], object], calls: int) -> float:
        """Seconds of one call, as the mean of several in a row."""
        if not self.on_gpu:
            start = self.read()
            for _ in range(calls):
                work()
            return (self.read() - start) / calls
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        before.record()
        for _ in range(calls):
            work()
        after.record()
        after.synchronize()
        return before.elapsed_time(after) / 1000 / calls


class Stages:
    """Several pieces of work that are measured in turn, so that what disturbs the machine disturbs all alike.

    Args:
        works: The pieces by name.
        clock: Times them.
        seconds: How long one measurement of one piece should last at least; short work is called several times.
    """

    def __init__(self, works: Mapping[str, Callable[[], object]], clock: Clock, seconds: float = 0.1) -> None:
        self.works = dict(works)
        self.clock = clock
        self.calls = {}
        for name, work in self.works.items():
            work()  # what is done once only is not measured
            self.calls[name] = max(1, math.ceil(seconds / clock.time(work, 1)))

    def measure(self) -> dict[str, float]:
        """Seconds of one call of each piece."""
        return {name: self.clock.time(work, self.calls[name]) for name, work in self.works.items()}
