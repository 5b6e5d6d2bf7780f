"""Processes of the tests, forked from one that has imported what they need: a start takes tenths of a second, not five.

That process is fresh, not the one of the tests: what a test registers or patches is not there.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

from torch.multiprocessing import start_processes

from . import layout  # noqa: F401  in those processes too

FORKS = multiprocessing.get_context('forkserver')
FORKS.set_forkserver_preload(
    [
        'crld_zoo.launch.train',
        'crld_zoo.launch.test',
        *(f'crld_zoo.{room}' for room in ('benchmark', 'datasets', 'distillers', 'engine', 'evaluation', 'models')),
        'matplotlib.pyplot',
        'mmpretrain.datasets',
        'mmpretrain.models',
        'sklearn.datasets',
    ]
)


class Tool:
    """A command as a user gives it, ``python FILE ARGUMENTS…``, in the background and in a process group of its own.

    Args:
        folder: Where it runs.
        arguments: The file, seen from the folder, and what follows it.
        environment: In addition to that of the tests.
        prepare: Called in the process before the file runs.

    Attributes:
        stdout, stderr: The files that take what it prints.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self._said = tempfile.TemporaryDirectory(prefix='crld_zoo_tool_')
        self.stdout, self.stderr = (Path(self._said.name, name) for name in ('stdout', 'stderr'))
        for file in (self.stdout, self.stderr):
            file.touch()
        environment = {**os.environ, **(environment or {})}
        self.process: BaseProcess = FORKS.Process(
            target=_run_file,
            args=(folder, [*map(str, arguments)], environment, (self.stdout, self.stderr), prepare),
        )
        self.process.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.is_alive()

    def signal(self, number: int) -> None:
        if self.running:
            os.kill(self.pid, number)

    def wait(self, seconds: float = 300) -> int:
        """The exit code; negative for the signal that ended it. A command that hangs is an error."""
        self.process.join(seconds)
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
            raise TimeoutError(f'still running after {seconds} s:\n{self.output()}')
        return self.process.exitcode

    def output(self) -> str:
        """What it has printed, errors last."""
        return self.stdout.read_text() + self.stderr.read_text()


def _run_file(
    folder: Path,
    arguments: list[str],
    environment: dict[str, str],
    files: tuple[Path, Path],
    prepare: Callable[[], None] | None,
) -> None:
    os.setpgid(0, 0)
    multiprocessing.set_start_method(None, force=True)  # of workers, as in a process that nobody forked
    for number, file in enumerate(files, 1):
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout, sys.stderr = (os.fdopen(number, 'w', buffering=1) for number in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = arguments
    named = os.environ.get('PYTHONPATH')
    sys.path[:0] = [str(Path(arguments[0]).resolve().parent), *(named.split(os.pathsep) if named else [])]
    if prepare is not None:
        prepare()
    runpy.run_path(arguments[0], run_name='__main__')


def run(folder: Path, *arguments: object, code: int = 0, seconds: float = 300, **options) -> str:
    """Run a command to its end; its output. Fails if it exits with another code."""
    tool = Tool(folder, *arguments, **options)
    ended, output = tool.wait(seconds), tool.output()
    assert ended == code, output[-3000:]
    return output


def run_two(work: Callable, *arguments: object) -> None:
    """Call ``work(rank, *arguments)`` in two processes."""
    start_processes(work, arguments, nprocs=2, start_method='forkserver')


def sentence(output: str) -> str:
    """The error that a tool ends with, which is one line and no traceback."""
    assert 'Traceback' not in output
    (line,) = [line for line in output.splitlines() if line.startswith('error: ')]
    return line
