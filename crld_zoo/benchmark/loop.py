"""The Runner's own training loop, timed in segments, with room for something else between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import NamedTuple

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .timing import Clock


class Segment(NamedTuple):
    """Iterations of the loop that were timed together.

    Attributes:
        images: How many went through it.
        seconds: From the end of the iteration before to the end of the last one.
        waiting: Seconds of these in which the loop waited for the loader; not a number where nobody looked.
        joules: What the GPU used; not a number where that is unknown.
    """

    images: int
    seconds: float
    waiting: float = math.nan
    joules: float = math.nan


Protocol = Generator[int, Segment, None]
"""Yields how many iterations are timed next and is given their :class:`Segment`; the loop ends where it does."""


def run_loop(cfg: Config, protocol: Callable[[Runner], Protocol], processor_time: bool = False) -> None:
    """Train as the config says, under the command of a protocol.

    Args:
        cfg: Of the whole run.
        protocol: Called with the runner once its loop has begun. Before each segment one iteration goes untimed, since
            what the protocol did in between has used the caches.
        processor_time: See :class:`~crld_zoo.benchmark.timing.Clock`.
    """
    runner = Runner.from_cfg(cfg)
    runner.register_hook(_Conductor(protocol, processor_time))
    try:
        runner.train()
    except _Finished:
        return
    raise AssertionError('the training ended before its measurement')


class _Finished(Exception):
    """The protocol has ended."""


class _Conductor(Hook):
    priority = 'LOWEST'  # what the other hooks do belongs to the iteration

    def __init__(self, protocol: Callable[[Runner], Protocol], processor_time: bool) -> None:
        self._make = protocol
        self._processor_time = processor_time
        self._left: int | None = None

    def before_train(self, runner: Runner) -> None:
        self._clock = Clock(next(runner.model.parameters()).device, self._processor_time)
        self._protocol = self._make(runner)
        self._begin(self._advance(None))

    def before_train_epoch(self, runner: Runner) -> None:
        self._end = self._clock.read()  # the first batch of an epoch is waited for as well

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        self._waiting += self._clock.read() - self._end

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self._left is None:  # the untimed iteration
            self._left, self._images, self._waiting = self._steps, 0, 0.0
            self._joules = self._clock.joules()  # first: to ask for it takes time
            self._start = self._clock.now()
        else:
            self._left -= 1
            self._images += len(data_batch['data_samples'])
            if not self._left:
                seconds = self._clock.now() - self._start
                segment = Segment(self._images, seconds, self._waiting, self._clock.joules() - self._joules)
                self._begin(self._advance(segment))
        self._end = self._clock.read()

    def _begin(self, steps: int) -> None:
        self._steps, self._left, self._waiting = steps, None, 0.0

    def _advance(self, segment: Segment | None) -> int:
        try:
            return next(self._protocol) if segment is None else self._protocol.send(segment)
        except StopIteration:
            raise _Finished from None
