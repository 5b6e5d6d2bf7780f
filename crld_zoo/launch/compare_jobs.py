"""Where the runs of a comparison are trained: processes of this machine, or jobs of a cluster."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from crld_zoo.engine.preemption import PREEMPTED
from crld_zoo.errors import InputError

from .compare_file import OUTPUT_FILE, Run
from .extras import required

_STEP = re.compile(rb'Epoch\(train\)\s*\[(\d+)\]\[\s*(\d+)/(\d+)\]|Iter\(train\)\s*\[\s*(\d+)/(\d+)\]')


class Job(ABC):
    """A run that was started.

    Attributes:
        run: Which.
        output: The file that takes what it says.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.output = run.folder / OUTPUT_FILE
        self._before = self.output.stat().st_size if self.output.exists() else 0  # what earlier starts said

    @abstractmethod
    def exit_code(self) -> int | None:
        """None while it runs; below 0 where a signal ended it."""

    @abstractmethod
    def stop(self) -> None:
        """Tell it to save its state and to end; it takes a while."""

    def progress(self) -> float:
        """How much of its training is done, 0 to 1, by what it says."""
        return trained_share(self._said(most=1 << 16), self.run.config.get('train_cfg', {}).get('max_epochs', 1))

    def reason(self) -> str:
        """Why it failed: the last sentence of its output."""
        code = self.exit_code()
        lines = [line for line in self._said().decode(errors='replace').splitlines() if line.strip()]
        sentences = [line.removeprefix('error: ') for line in lines if line.startswith('error: ')]
        if sentences:
            return sentences[-1]
        if code is not None and code < 0:
            return f'ended by {signal.Signals(-code).name}' + (', often for want of memory' if code == -9 else '')
        return lines[-1].strip() if lines else f'exit status {code}, without a word'

    def _said(self, most: int | None = None) -> bytes:
        """What this start of it said, the last of it where that is long."""
        with contextlib.suppress(OSError), open(self.output, 'rb') as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(self._before if most is None else max(self._before, end - most))
            return file.read()
        return b''


def trained_share(output: bytes, epochs: int) -> float:
    """How much of a training is done, 0 to 1, by the last line that MMEngine's logger wrote of its steps.

    >>> trained_share(b'... Epoch(train)  [3][ 50/100]  lr: 0.1', epochs=5)
    0.5
    """
    steps = _STEP.findall(output)
    if not steps:
        return 0.0
    epoch, step, length, iteration, iterations = (int(number or 0) for number in steps[-1])
    return iteration / iterations if iterations else min(1.0, (epoch - 1 + step / length) / epochs)


def command_of(folder: Path) -> list[str]:
    """What trains the run of a folder in a process of its own."""
    return [sys.executable, '-m', 'crld_zoo.launch.compare_run', str(folder)]


class LocalProcesses:
    """Runs as processes of this machine.

    Args:
        jobs: How many at once. They share the cores, unless ``OMP_NUM_THREADS`` is set, and take the GPUs in turn.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
        self.threads = os.environ.get('OMP_NUM_THREADS') or str(max(1, cores // jobs))
        self._free = list(range(jobs))

    def start(self, run: Run) -> Job:
        """Start a run; at most ``jobs`` at once."""
        place = self._free.pop(0)
        environment = {**os.environ, 'OMP_NUM_THREADS': self.threads}
        gpus = visible_gpus()
        if len(gpus) > 1:
            environment['CUDA_VISIBLE_DEVICES'] = gpus[place % len(gpus)]
        return _Process(run, environment, lambda: self._free.append(place))


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` calls them."""
    chosen = os.environ.get('CUDA_VISIBLE_DEVICES')
    return [str(number) for number in range(torch.cuda.device_count())] if chosen is None else chosen.split(',')


class _Process(Job):
    def __init__(self, run: Run, environment: Mapping[str, str], on_exit) -> None:
        super().__init__(run)
        self._on_exit = on_exit
        with open(self.output, 'ab') as output:
            # A session of its own: Ctrl-C reaches this program alone, which then stops its runs in order.
            self._process = subprocess.Popen(
                command_of(run.folder), env=environment, stdout=output, stderr=output, start_new_session=True
            )

    def exit_code(self) -> int | None:
        code = self._process.poll()
        if code is not None and self._on_exit is not None:
            self._on_exit()
            self._on_exit = None
        return code

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()


class ClusterJobs:
    """Runs as jobs of a cluster, through submitit.

    Args:
        cluster: ``'slurm'``, or ``'local'`` for submitit's processes on this machine.
        jobs: How many at once.
        folder: Where submitit keeps its files; on a cluster all machines must see it.
        options: Of submitit's ``update_parameters``: ``timeout_min``, ``slurm_partition``, ``gpus_per_node``, …

    Raises:
        InputError: submitit is not installed, or does not know an option or the cluster.
    """

    def __init__(self, cluster: str, jobs: int, folder: Path, options: Mapping) -> None:
        submitit = required('submitit', 'cluster')
        self.jobs, self.cluster = jobs, cluster
        self.threads = os.environ.get('OMP_NUM_THREADS') or str(options.get('cpus_per_task', 1))
        try:
            self._executor = submitit.AutoExecutor(folder=folder.resolve(), cluster=cluster)
            self._executor.update_parameters(**{'timeout_min': 24 * 60, 'name': 'crld_zoo', **options})
        except (RuntimeError, ValueError, NameError, TypeError, AssertionError) as error:
            raise InputError(f'--cluster {cluster}: {" ".join(str(error).split())}.') from error

    def start(self, run: Run) -> Job:
        """Submit a run."""
        return _Submitted(run, self._executor, self.cluster, {'OMP_NUM_THREADS': self.threads})


class _Submitted(Job):
    def __init__(self, run: Run, executor, cluster: str, environment: Mapping[str, str]) -> None:
        super().__init__(run)
        self._cluster = cluster
        self._job = executor.submit(
            RunCommand(command_of(run.folder.resolve()), str(self.output.resolve()), environment)
        )

    def exit_code(self) -> int | None:
        if not self._job.done():
            return None
        error = self._job.exception()
        return self._job.result() if error is None else 1

    def reason(self) -> str:
        error = self._job.exception()
        return super().reason() if error is None else f'{super().reason()} ({str(error).strip().splitlines()[-1]})'

    def stop(self) -> None:
        if self._cluster == 'local':  # whose cancel would kill before the run has saved
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self._job.job_id), signal.SIGTERM)
        else:
            self._job.cancel(check=False)


class RunCommand:
    """What a job of a cluster does: the command of a run, told to stop when the job is.

    Args:
        command: Trains the run.
        output: The file that takes what it says.
        environment: Added to that of the job.
    """

    def __init__(self, command: Sequence[str], output: str, environment: Mapping[str, str]) -> None:
        self.command, self.output, self.environment = list(command), output, dict(environment)

    def __call__(self) -> int:
        """Run; the exit code."""
        global _CHILD
        with open(self.output, 'ab') as output:
            _CHILD = subprocess.Popen(
                self.command, env={**os.environ, **self.environment}, stdout=output, stderr=output
            )
        signal.signal(signal.SIGTERM, lambda number, frame: _CHILD.terminate())
        while _CHILD.poll() is None:
            time.sleep(0.2)
        return _CHILD.returncode

    def checkpoint(self):
        """submitit's question when the time is up or somebody else needs the place: save, and go on in a new job."""
        from submitit.helpers import DelayedSubmission

        _CHILD.terminate()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(_CHILD.pid, 0)  # not wait(): this is a signal handler, and poll() may hold its lock
        return DelayedSubmission(self)


_CHILD: subprocess.Popen | None = None


def was_stopped(code: int) -> bool:
    """Whether a run ended because somebody told it to."""
    return code in (PREEMPTED, -signal.SIGTERM)
