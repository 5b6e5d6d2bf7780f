"""The faults, each as a function that inflicts it some times and counts what came of it."""

from __future__ import annotations

import functools
import itertools
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import harness
from harness import (
    CONFIG,
    LENGTH,
    ROOT,
    SNAPSHOT_INTERVAL,
    Run,
    iterations_done,
    iterations_saved,
    newest_is_whole,
    same_result,
    train,
    wait_for_iteration,
)

from crld_zoo.engine import PREEMPTED


@dataclass
class Figures:
    """What a kind of fault did.

    Attributes:
        fault: What was done.
        tried: How many times.
        survived: After how many the run went on, or ended as it should, with one sentence.
        unequal: Finished runs that differ from the undisturbed one.
        unreadable: Faults after which the newest checkpoint was damaged.
        lost: The most iterations that a fault cost.
        slowest_end: Seconds from the fault to the end of the last process, where that matters.
        sentences: How the runs said it.
    """

    fault: str
    tried: int = 0
    survived: int = 0
    unequal: int = 0
    unreadable: int = 0
    lost: int = 0
    slowest_end: float = 0.0
    sentences: list[str] = field(default_factory=list)

    def as_promised(self) -> bool:
        """Nothing unequal, nothing unreadable, at most one interval of work lost."""
        return (
            self.tried == self.survived > 0 and self.unequal == self.unreadable == 0 and self.lost <= SNAPSHOT_INTERVAL
        )

    def after_fault(self, work_dir: Path) -> None:
        """Look at what the fault left behind."""
        self.unreadable += not newest_is_whole(work_dir)
        self.lost = max(self.lost, iterations_done(work_dir) - iterations_saved(work_dir))

    def finish(self, work_dir: Path, undisturbed: Path, **how) -> bool:
        """Resume to the end and compare."""
        run = train(work_dir, **how)
        if run.wait() != 0:
            self.sentences.append(run.output()[-2000:])
            return False
        equal = same_result(work_dir, undisturbed)
        self.unequal += not equal
        return equal


def undisturbed_run(folder: Path, **how) -> Path:
    """The run to compare with."""
    run = train(folder, **how)
    if run.wait() != 0:
        raise RuntimeError(run.output())
    return folder


def _numbered(folder: Path) -> Iterator[Path]:
    """Work directories for one run after the other."""
    return (folder.with_name(f'{folder.name}_{number}') for number in itertools.count())


def kills(folder: Path, undisturbed: Path, count: int, seed: int = 0) -> Figures:
    """``kill -9`` at random moments, each time resumed; a run that reaches its end is compared, and a new one begun."""
    figures, draw = Figures('kill -9 at a random moment'), random.Random(seed)
    folders = _numbered(folder / 'kills')
    work_dir = next(folders)
    while figures.tried < count:
        run = train(work_dir)
        delay = draw.uniform(0, 1.5)
        start = iterations_done(work_dir)
        if draw.random() < 0.75:  # most of a run's time is its start: let most kills wait for the training
            wait_for_iteration(run, work_dir, start + 1)
        time.sleep(delay)
        if run.running:
            run.signal(signal.SIGKILL)
            run.wait()
            figures.tried += 1
            figures.survived += 1  # taken back below if the run cannot go on
            figures.after_fault(work_dir)
        elif run.wait() == 0:
            figures.unequal += not same_result(work_dir, undisturbed)
            work_dir = next(folders)
        else:
            figures.survived -= 1
            figures.sentences.append(run.output()[-2000:])
            break
    if (work_dir / 'iterations_done').exists() and not figures.finish(work_dir, undisturbed):
        figures.survived -= 1
    return figures


def preemptions(folder: Path, undisturbed: Path, count: int, seed: int = 1) -> Figures:
    """SIGTERM or SIGUSR1 at random moments: exit code 75, nothing lost once the training has begun."""
    figures, draw = Figures('SIGTERM/SIGUSR1 at a random moment'), random.Random(seed)
    folders = _numbered(folder / 'preemptions')
    work_dir = next(folders)
    while figures.tried < count:
        start = iterations_done(work_dir)
        run = train(work_dir)
        wait_for_iteration(run, work_dir, start + 1)
        time.sleep(draw.uniform(0, 1.0))
        run.signal(draw.choice([signal.SIGTERM, signal.SIGUSR1]))
        code = run.wait()
        if code == 0:
            figures.unequal += not same_result(work_dir, undisturbed)
            work_dir = next(folders)
            continue
        figures.tried += 1
        figures.survived += code == PREEMPTED
        figures.after_fault(work_dir)
    figures.finish(work_dir, undisturbed)
    return figures


def damaged_files(folder: Path, undisturbed: Path, count: int, seed: int = 2) -> Figures:
    """The newest checkpoint is truncated, gets a bit flipped, or is swapped with another; the run goes on from a whole
    one and ends as if nothing had been."""
    figures, draw = Figures('newest checkpoint truncated, flipped or swapped'), random.Random(seed)
    half_done = folder / 'half_done'
    run = train(half_done)
    wait_for_iteration(run, half_done, LENGTH - 3)
    run.signal(signal.SIGKILL)
    run.wait()
    for number in range(count):
        work_dir = shutil.copytree(half_done, folder / f'damaged_{number}')
        _damage(work_dir, ('truncated', 'flipped', 'swapped')[number % 3], draw)
        figures.tried += 1
        resumed = train(work_dir)
        code = resumed.wait()
        equal = code == 0 and same_result(work_dir, undisturbed)
        figures.unequal += not equal
        told = 'skipped while looking for a checkpoint to go on from' in resumed.output()
        figures.survived += code == 0 and told == (number % 3 != 2)
    return figures


def _damage(work_dir: Path, how: str, draw: random.Random) -> None:
    newest = Path(harness.find_resume_checkpoint(work_dir))
    content = bytearray(newest.read_bytes())
    if how == 'truncated':
        newest.write_bytes(content[: draw.randrange(len(content))])
    elif how == 'flipped':
        with zipfile.ZipFile(newest) as archive:
            weights = archive.read(max(archive.infolist(), key=lambda record: record.file_size))
        content[content.index(weights) + draw.randrange(len(weights))] ^= 1 << draw.randrange(8)
        newest.write_bytes(content)
    else:
        other = draw.choice([path for path in work_dir.glob('epoch_*.pth') if path != newest])
        content, older = newest.read_bytes(), other.read_bytes()
        newest.write_bytes(older)
        other.write_bytes(content)


@contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator[Path]:
    """A disk of that size, where one can be mounted.

    Raises:
        PermissionError: This user may not mount.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', f'size={int(megabytes * 1024)}k', 'tmpfs', folder],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        raise PermissionError(mounted.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', folder], check=True)


def full_disks(folder: Path, undisturbed: Path, count: int) -> Figures:
    """The disk fills up: one sentence, exit code 2, and what was saved before is whole; with room the run goes on.

    A small tmpfs where it can be mounted, else a limit on the size of the files that the process may write.
    """
    figures = Figures('disk full')
    for number in range(count):
        try:
            with small_disk(folder / f'disk_{number}', 2.2 + 0.6 * number) as disk:
                work_dir = disk / 'run'
                run = train(work_dir)
                _check_full(figures, run, work_dir)
                kept = shutil.copytree(work_dir, folder / f'kept_{number}')
        except PermissionError:
            kept = folder / f'kept_{number}'
            run = train(kept, prepare=functools.partial(_limit_files, 400_000 + 300_000 * number))
            _check_full(figures, run, kept)
        figures.after_fault(kept)
        figures.survived += figures.finish(kept, undisturbed)
    return figures


def _limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writes then fail with EFBIG
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _check_full(figures: Figures, run: Run, work_dir: Path) -> None:
    figures.tried += 1
    code, lines = run.wait(), run.error_lines()
    figures.sentences += lines
    if code != 2 or len(lines) != 1 or 'make room' not in lines[0] or not newest_is_whole(work_dir):
        raise AssertionError(f'exit code {code}: {run.output()[-2000:]}')


def write_images(folder: Path) -> Path:
    """The digits as files, for what goes wrong with files and with those who load them."""
    import cv2
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number in range(128):
        path = folder / str(digits.target[number]) / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), (digits.images[number] * 15).astype('uint8'))
    return folder


def from_files(images: Path) -> dict:
    """What makes a run read those files with two loader workers."""
    return dict(
        config=harness.HERE / 'files_config.py',
        options=['--cfg-options', f'train_dataloader.dataset.data_prefix={images}'],
    )


def killed_workers(folder: Path, images: Path, undisturbed: Path, count: int, seed: int = 3) -> Figures:
    """``kill -9`` of a loader worker: one sentence, exit code 2, and the run can be resumed."""
    figures, draw = Figures('loader worker killed'), random.Random(seed)
    for number in range(count):
        work_dir = folder / f'workers_{number}'
        run = train(work_dir, **from_files(images))
        wait_for_iteration(run, work_dir, draw.randrange(2, 20))
        workers = run.children()
        os.kill(draw.choice(workers), signal.SIGKILL)
        figures.tried += 1
        code, lines = run.wait(), run.error_lines()
        figures.sentences += lines
        figures.after_fault(work_dir)
        good = code == 2 and len(lines) == 1 and 'num_workers' in lines[0]
        figures.survived += good and figures.finish(work_dir, undisturbed, **from_files(images))
    return figures


def vanished_files(folder: Path, images: Path, undisturbed: Path, count: int, seed: int = 4) -> Figures:
    """An image vanishes: one sentence that names it, exit code 2; put back, the run goes on."""
    figures, draw = Figures('image file vanished'), random.Random(seed)
    for number in range(count):
        work_dir = folder / f'vanished_{number}'
        run = train(work_dir, **from_files(images))
        wait_for_iteration(run, work_dir, draw.randrange(2, 12))
        image = draw.choice(sorted(images.rglob('*.png')))
        away = image.rename(folder / 'away.png')
        figures.tried += 1
        code, lines = run.wait(), run.error_lines()
        away.rename(image)
        figures.sentences += lines
        figures.after_fault(work_dir)
        good = code == 2 and len(lines) == 1 and str(image) in lines[0]
        figures.survived += good and figures.finish(work_dir, undisturbed, **from_files(images))
    return figures


class Torchrun:
    """A training in two processes, started or resumed, at a port that is free.

    Args:
        work_dir: Of the training.
        options: Of the command.
    """

    def __init__(self, work_dir: Path, *options: object) -> None:
        self.log = work_dir.with_suffix('.log')
        environment = {**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{harness.HERE}', 'OMP_NUM_THREADS': '1'}
        command = [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--standalone',
            '--nproc-per-node=2',
            ROOT / 'tools' / 'train.py',
            CONFIG,
            '--launcher',
            'pytorch',
            '--work-dir',
            work_dir,
            '--resume',
        ]
        with self.log.open('w') as log:
            self.agent = subprocess.Popen([*command, *options], env=environment, stdout=log, stderr=log)

    @property
    def running(self) -> bool:
        return self.agent.poll() is None

    def ranks(self) -> list[int]:
        """The processes that torchrun has started."""
        children = Path(f'/proc/{self.agent.pid}/task/{self.agent.pid}/children').read_text()
        return [int(pid) for pid in children.split()]

    def wait(self, seconds: float = 300) -> int:
        """torchrun's exit code. A run that hangs is an error."""
        try:
            return self.agent.wait(seconds)
        except subprocess.TimeoutExpired as error:
            for pid in [*self.ranks(), self.agent.pid]:
                os.kill(pid, signal.SIGKILL)
            raise TimeoutError(self.output()) from error

    def output(self) -> str:
        return self.log.read_text()


def two_processes(work_dir: Path) -> Path:
    """The undisturbed run of two processes."""
    run = Torchrun(work_dir)
    if run.wait() != 0:
        raise RuntimeError(run.output())
    return work_dir


def killed_ranks(folder: Path, undisturbed: Path, count: int, seed: int = 5) -> Figures:
    """``kill -9`` of one process of two: the other ends within seconds, the error is shown, the run can be resumed."""
    figures, draw = Figures('one process of two killed'), random.Random(seed)
    for number in range(count):
        work_dir = folder / f'killed_{number}'
        run = _two_at_iteration(work_dir, draw.randrange(2, 9))
        os.kill(run.ranks()[number % 2], signal.SIGKILL)
        killed = time.monotonic()
        code = run.wait(60)
        figures.slowest_end = max(figures.slowest_end, time.monotonic() - killed)
        shown = [line.strip() for line in run.output().splitlines() if 'Signal 9' in line]
        figures.sentences += shown[:1]
        _finish_two(figures, work_dir, undisturbed, as_it_should=code != 0 and bool(shown))
    return figures


def preempted_ranks(folder: Path, undisturbed: Path, count: int, seed: int = 6) -> Figures:
    """SIGTERM to torchrun, or to one process of two: both stop after the same iteration, and the run can be resumed."""
    figures, draw = Figures('SIGTERM to two processes'), random.Random(seed)
    for number in range(count):
        work_dir = folder / f'preempted_{number}'
        run = _two_at_iteration(work_dir, draw.randrange(2, 8))
        os.kill([run.agent.pid, *run.ranks()][number % 3], signal.SIGTERM)
        run.wait(60)
        told = [line for line in run.output().splitlines() if 'told to stop' in line]
        figures.sentences += told[:1]
        _finish_two(figures, work_dir, undisturbed, bool(told) and (work_dir / 'snapshot.pth').is_file())
    return figures


def _two_at_iteration(work_dir: Path, iteration: int) -> Torchrun:
    run = Torchrun(work_dir, '--cfg-options', 'default_hooks.preemption.interval=3')
    wait_for_iteration(run, work_dir, iteration)
    return run


def _finish_two(figures: Figures, work_dir: Path, undisturbed: Path, as_it_should: bool) -> None:
    figures.tried += 1
    figures.after_fault(work_dir)
    run = Torchrun(work_dir)
    finished = run.wait() == 0
    equal = finished and same_result(work_dir, undisturbed)
    figures.unequal += not equal
    figures.survived += as_it_should and equal
    if not finished:
        figures.sentences.append(run.output()[-2000:])
