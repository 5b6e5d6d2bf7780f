"""Runs of ``tools/train.py`` and ``tools/test.py`` in processes of their own, to be killed, signalled and starved."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # one thread: forks are safe, and sums add up in the same order

import torch

import crld_zoo.engine
from crld_zoo.checkpoint_files import read_checkpoint
from crld_zoo.engine.checkpoints import find_resume_checkpoint

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))  # for run.py

from tests.processes import Tool  # noqa: E402

CONFIG = HERE / 'fault_config.py'
LAST = 'epoch_3.pth'
LENGTH = 24  # iterations
SNAPSHOT_INTERVAL = 3


class Run(Tool):
    """A command that runs in the background.

    Args:
        arguments: Of the command.
        command: Which one.
        prepare: Called in the process before the command.
    """

    def __init__(self, *arguments: object, command: str = 'train', prepare: Callable[[], None] | None = None) -> None:
        super().__init__(ROOT, f'tools/{command}.py', *arguments, prepare=prepare)

    def children(self) -> list[int]:
        """Its loader workers."""
        found = []
        for task in Path(f'/proc/{self.pid}/task').glob('*/children'):
            found += [int(pid) for pid in task.read_text().split()]
        return found

    def error_lines(self) -> list[str]:
        """The lines that are no log."""
        return [line for line in self.output().splitlines() if line.startswith(('error', 'Traceback'))]


def train(
    work_dir: Path, config: Path = CONFIG, options: Sequence[str] = (), prepare: Callable[[], None] | None = None
) -> Run:
    """Start or resume a training."""
    return Run(config, '--work-dir', work_dir, '--resume', *options, prepare=prepare)


def iterations_done(work_dir: Path) -> int:
    """How far the run is, saved or not."""
    path = work_dir / 'iterations_done'
    return int(path.read_text() or 0) if path.is_file() else 0


def iterations_saved(work_dir: Path) -> int:
    """How far the newest intact checkpoint is."""
    path = find_resume_checkpoint(work_dir)
    return 0 if path is None else read_checkpoint(path)['meta']['iter']


def wait_for_iteration(run: Run, work_dir: Path, iteration: int, seconds: float = 120) -> None:
    """Return when the run has done so many iterations, or is over."""
    end = time.monotonic() + seconds
    while run.running and iterations_done(work_dir) < iteration:
        if time.monotonic() > end:
            raise TimeoutError(run.output())
        time.sleep(0.005)


def newest_is_whole(work_dir: Path) -> bool:
    """Whether what ``last_checkpoint`` names can be read to the last byte (true where nothing was saved yet)."""
    note = work_dir / 'last_checkpoint'
    if not note.is_file():
        return True
    try:
        read_checkpoint(work_dir / Path(note.read_text()).name)  # the folder may have been moved
    except crld_zoo.errors.InputError:
        return False
    return True


def same_result(first: Path, second: Path) -> bool:
    """Whether two finished runs have the same weights, averages, optimizer, schedules and losses, bit for bit."""
    parts = []
    for work_dir in (first, second):
        checkpoint = torch.load(work_dir / LAST, weights_only=True)
        losses = checkpoint['message_hub']['log_scalars']['train/loss'].data[0]
        parts.append(
            [losses, *(checkpoint[name] for name in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'))]
        )
    return _equal(*parts)


def _equal(first, second) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    return bool((first == second).all()) if hasattr(first, 'all') else first == second
