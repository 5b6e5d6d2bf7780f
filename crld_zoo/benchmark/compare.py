"""Ours against the reference protocol, in turn on one machine."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch

from crld_zoo.errors import InputError

from .loop import Protocol, Segment, run_loop
from .machine import peak_memory
from .reference import ReferenceTraining
from .setup import Options, build_or_explain, in_way, measured_config, set_tf32
from .timing import Clock, Spread

REFERENCE = 'reference'
OURS = ('fp32', 'bf16')
"""The sides: the reference protocol, and ours in either precision; :func:`~crld_zoo.benchmark.in_way` has further."""


class Setting(NamedTuple):
    """How a side uses the cores.

    Attributes:
        threads: Of torch in the training process.
        workers: Of the loader.
    """

    threads: int
    workers: int

    def __str__(self) -> str:
        return f'{self.threads} threads, {self.workers} workers'


def grid(
    cores: int,
    threads: int | None = None,
    processor_time: bool = False,
    ways: Sequence[str] = OURS,
    workers: Sequence[int] | None = None,
) -> dict[str, list[Setting]]:
    """The settings that are tried on each side: with no, half and as many workers as cores, and likewise with threads,
    unless their numbers are given.

    Ours has no use for workers: its batches are ready in memory. The processor's time can be compared only where all
    work is done by one thread.
    """
    if processor_time:
        threads = 1
    counts = [threads] if threads is not None else sorted({1, max(1, cores // 2), cores})
    if workers is None or processor_time:
        workers = [0] if processor_time else sorted({0, 1, max(1, cores // 2), cores})
    return {
        REFERENCE: [Setting(*pair) for pair in itertools.product(counts, workers)],
        **{way: [Setting(count, 0) for count in counts] for way in ways},
    }


@dataclass(frozen=True)
class Comparison:
    """What was measured, by the name of the side.

    Attributes:
        tried: Images a second in each setting that was tried.
        chosen: The best setting.
        speeds: Images a second in it, once a repeat; the sides were measured in turn.
        peak_memory: Bytes that the training process held at most; the reference's workers come on top.
        joules: What the GPU used for one image, the mean over the repeats; not a number without one. What the CPU used
            is not in it.
    """

    tried: dict[str, dict[Setting, float]]
    chosen: dict[str, Setting]
    speeds: dict[str, list[float]]
    peak_memory: dict[str, int]
    joules: dict[str, float]

    def ratio(self, name: str) -> Spread:
        """How many times as fast as the reference a side of ours is, repeat by repeat."""
        return Spread.of(
            ours / reference for ours, reference in zip(self.speeds[name], self.speeds[REFERENCE], strict=True)
        )

    def to_dict(self) -> dict:
        """For JSON."""
        return dict(
            tried={
                name: {str(setting): speed for setting, speed in speeds.items()} for name, speeds in self.tried.items()
            },
            chosen={name: setting._asdict() for name, setting in self.chosen.items()},
            speeds=self.speeds,
            peak_memory=self.peak_memory,
            joules={name: None if math.isnan(joules) else joules for name, joules in self.joules.items()},
            images_per_second={name: Spread.of(speeds)._asdict() for name, speeds in self.speeds.items()},
            ratio={name: self.ratio(name)._asdict() for name in self.speeds if name != REFERENCE},
        )


def compare(options: Options, repeats: int, seconds: float, settings: Mapping[str, Sequence[Setting]]) -> Comparison:
    """Time a recipe through the Runner, in several ways, against the reference protocol, which is left to PyTorch's
    defaults.

    Each side has a process of its own, so that each has its own peak of memory and no other's threads; only one of them
    works at a time.

    Args:
        options: What is measured, whatever its ``amp`` and ``tf32``.
        repeats: How often every side is measured, in turn.
        seconds: How long a measurement lasts, about.
        settings: What is tried on each side, by its name; the fastest is taken.

    Raises:
        InputError: The recipe cannot be compared.
    """
    with tempfile.TemporaryDirectory() as scratch:
        sides = {}
        try:
            for name in settings:
                own = options if name == REFERENCE else in_way(options, name)
                sides[name] = Side(name, own, Path(scratch, name))
            for side in sides.values():
                side.wait()
            steps: dict[tuple[str, Setting], int] = {}
            tried: dict[str, dict[Setting, float]] = {}
            for name, side in sides.items():
                tried[name] = {}
                for setting in settings[name]:
                    trial = side.run(setting, 1)
                    steps[name, setting] = math.ceil(seconds / trial.seconds)
                    if steps[name, setting] > 1:
                        trial = side.run(setting, math.ceil(steps[name, setting] / 2))
                    tried[name][setting] = speed(trial)
            best = {name: max(found, key=found.__getitem__) for name, found in tried.items()}
            segments: dict[str, list[Segment]] = {name: [] for name in sides}
            for _ in range(repeats):
                for name, side in sides.items():
                    segments[name].append(side.run(best[name], steps[name, best[name]]))
            return Comparison(
                tried=tried,
                chosen=best,
                speeds={name: list(map(speed, own)) for name, own in segments.items()},
                joules={
                    name: sum(each.joules for each in own) / sum(each.images for each in own)
                    for name, own in segments.items()
                },
                peak_memory={name: side.memory() for name, side in sides.items()},
            )
        finally:
            for side in sides.values():
                side.close()


def speed(segment: Segment) -> float:
    """Images a second."""
    return segment.images / segment.seconds


class Side:
    """A process that trains when it is told to."""

    def __init__(self, name: str, options: Options, work_dir: Path) -> None:
        context = multiprocessing.get_context('spawn')
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, options, work_dir), daemon=False)
        self._process.start()
        theirs.close()

    def wait(self) -> None:
        """Until it has built its networks."""
        self._receive()

    def run(self, setting: Setting, steps: int) -> Segment:
        """Time so many steps."""
        self._pipe.send((setting, steps))
        return self._receive()

    def memory(self) -> int:
        """Bytes that it has held at most."""
        self._pipe.send('memory')
        return self._receive()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=30)
        if self._process.is_alive():
            self._process.terminate()

    def _receive(self):
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f'a measuring process ended with code {self._process.exitcode}') from None
        if isinstance(answer, InputError):
            raise answer
        if isinstance(answer, _Crash):
            raise RuntimeError(f'a measuring process failed:\n{answer.traceback}')
        return answer


class _Crash(NamedTuple):
    traceback: str


def _serve(pipe: Connection, name: str, options: Options, work_dir: Path) -> None:
    """The life of a side's process: it obeys until the pipe is closed."""
    multiprocessing.set_start_method(None, force=True)  # a loader's workers start as elsewhere, not as this process did
    try:
        set_tf32(options)
        cfg = measured_config(options, work_dir)
        if name != REFERENCE:
            build_or_explain(
                lambda: run_loop(cfg, lambda runner: _obey_in_loop(pipe, runner), options.processor_time), options
            )
        else:
            training = build_or_explain(lambda: ReferenceTraining(cfg), options)
            _obey_with_reference(pipe, training, Clock(training.device, options.processor_time))
    except (EOFError, BrokenPipeError):
        return
    except InputError as error:
        pipe.send(error)
    except Exception:
        pipe.send(_Crash(traceback.format_exc()))


def _orders(pipe: Connection, device: torch.device) -> Iterator[tuple[Setting, int]]:
    pipe.send('ready')
    while True:
        try:
            order = pipe.recv()
        except EOFError:
            return
        if order == 'memory':
            pipe.send(peak_memory(device))
            continue
        setting, steps = order
        torch.set_num_threads(setting.threads)
        yield setting, steps


def _obey_in_loop(pipe: Connection, runner) -> Protocol:
    for _, steps in _orders(pipe, next(runner.model.parameters()).device):
        pipe.send((yield steps))


def _obey_with_reference(pipe: Connection, training: ReferenceTraining, clock: Clock) -> None:
    for setting, steps in _orders(pipe, training.device):
        batches = training.batches(setting.workers)
        training.step(next(batches))  # its workers have started, its caches are warm
        joules = clock.joules()  # first: to ask for it takes time
        start = clock.now()
        for _ in range(steps):
            training.step(next(batches))
        seconds = clock.now() - start
        segment = Segment(steps * training.batch_size, seconds, joules=clock.joules() - joules)
        batches.close()  # first: its workers are not to go on while another side is measured
        pipe.send(segment)
