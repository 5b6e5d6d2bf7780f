"""Train the rows of a compare file with its seeds, and end with a table.

Trains what is missing, goes on with what was interrupted, leaves alone what is done. A run that fails is named with its
reason and does not stop the others.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from crld_zoo.engine.preemption import PREEMPTED, stopping_in_order
from crld_zoo.errors import InputError
from crld_zoo.report import FORMATS, format_table

from .compare_file import (
    RESULTS_FILE,
    Comparison,
    Run,
    check_teacher,
    check_unchanged,
    has_trained,
    read_comparison,
    read_json,
    write_json,
    write_record,
)
from .compare_jobs import ClusterJobs, Job, LocalProcesses, was_stopped
from .options import ConfigOptions

_EVERY = 60.0  # seconds between two lines about the progress, where there is no terminal


class Outcome(NamedTuple):
    """How a comparison went.

    Attributes:
        results: Of every finished run of the rows and seeds, in their order.
        failed: The reason by the name of the run.
        stopped: The runs that somebody told to stop.
    """

    results: list[dict]
    failed: dict[str, str]
    stopped: list[Run]


def finished(comparison: Comparison) -> list[dict]:
    """The results of the runs that are done, row by row."""
    results = [result for run in comparison.runs if (result := read_json(run.folder / RESULTS_FILE)) is not None]
    return _in_order(comparison, results)


def _in_order(comparison: Comparison, results: Iterable[dict]) -> list[dict]:
    order = {row: place for place, row in enumerate(comparison.rows)}
    return sorted(results, key=lambda result: (order.get(result['row'], len(order)), result['seed']))


def compare(
    comparison: Comparison, places: LocalProcesses | ClusterJobs, display: Display | None = None, poll: float = 0.5
) -> Outcome:
    """Bring every run of a comparison to its end.

    Args:
        comparison: See :func:`~crld_zoo.launch.compare_file.read_comparison`.
        places: Where runs are trained, and how many at once.
        display: What is told of the progress.
        poll: Seconds between two looks at the runs.

    Raises:
        InputError: A folder holds a run of another config, or a teacher is not there; nothing is trained then.
        SystemExit: The process was told to stop; every run has saved its state.
    """
    for run in comparison.runs:
        check_unchanged(run)
    waiting = [run for run in comparison.runs if not (run.folder / RESULTS_FILE).is_file()]
    for run in waiting:  # else each would fail by itself, one without a teacher when it has trained and is measured
        check_teacher(run)
    display = display or Display(Console(file=sys.stderr), comparison.runs)
    running: list[Job] = []
    failed, stopped = {}, []
    with display:
        try:
            while waiting or running:
                while waiting and len(running) < places.jobs:
                    run = waiting.pop(0)
                    write_record(run)
                    running.append(places.start(run))
                    display.started(run)
                time.sleep(poll)
                for job in list(running):
                    code = job.exit_code()
                    if code is None:
                        display.reached(job.run, job.progress())
                        continue
                    running.remove(job)
                    if code == 0 and (job.run.folder / RESULTS_FILE).is_file():
                        display.done(job.run, read_json(job.run.folder / RESULTS_FILE) or {})
                        _collect(comparison)
                    elif was_stopped(code):
                        stopped.append(job.run)
                        display.left(job.run, 'told to stop')
                    else:
                        failed[job.run.name] = job.reason()
                        display.left(job.run, f'failed: {failed[job.run.name]} (all of it: {job.output})')
        finally:
            _stop(running, display)
    return Outcome(finished(comparison), failed, stopped)


def _stop(running: list[Job], display: Display) -> None:
    """Tell what runs to stop, and wait until each has saved its state."""
    for job in running:
        job.stop()
    if running:
        display.say(f'told to stop: {len(running)} runs save their state')
    while any(job.exit_code() is None for job in running):
        try:
            time.sleep(0.1)
        except SystemExit:  # the same request again, as a scheduler sends it to every process
            continue


def _collect(comparison: Comparison) -> None:
    """Keep the results of all runs in one file of the comparison's folder, those of other rows and seeds included."""
    path = comparison.work_dir / RESULTS_FILE
    kept = {(result['row'], result['seed']): result for result in read_json(path) or []}
    kept |= {(result['row'], result['seed']): result for result in finished(comparison)}
    write_json(_in_order(comparison, kept.values()), path)


class Display:
    """One display over all runs: bars with the time that is left on a terminal, else a line now and then.

    Args:
        console: Where it is shown.
        runs: All of them.
    """

    def __init__(self, console: Console, runs: Sequence[Run]) -> None:
        self._console = console
        self._shares = {run.folder: 1.0 if (run.folder / RESULTS_FILE).is_file() else 0.0 for run in runs}
        self._at_start, self._started_at = self._share(), time.monotonic()
        self._last_line = self._started_at
        columns = (
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=console, speed_estimate_period=600) if console.is_terminal else None
        self._tasks: dict[Path, TaskID] = {}

    def __enter__(self) -> Display:
        if self._bars is not None:
            self._bars.start()
            self._all = self._bars.add_task(self._title(), total=len(self._shares), completed=int(self._done()))
        return self

    def __exit__(self, *error) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        console = self._bars.console if self._bars is not None else self._console
        console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def started(self, run: Run) -> None:
        """A run was started."""
        if self._bars is not None:
            self._tasks[run.folder] = self._bars.add_task(f'  {run.name}', total=1.0)
        else:
            self.say(f'{run.name}: started')

    def reached(self, run: Run, share: float) -> None:
        """A run goes on."""
        self._shares[run.folder] = share
        if self._bars is not None:
            self._bars.update(self._tasks[run.folder], completed=share)
            self._bars.update(self._all, completed=self._done(), description=self._title())
        elif time.monotonic() - self._last_line >= _EVERY:
            self._last_line = time.monotonic()
            self.say(f'{self._title()}, {100 * self._share():.0f} %, {self._time_left()}')

    def done(self, run: Run, result: Mapping) -> None:
        """A run has ended and was measured."""
        self._shares[run.folder] = 1.0
        self._remove(run)
        best = f', best {result["best_top1"]:.2f}' if result.get('best_top1') is not None else ''
        if 'last_top1' in result:
            self.say(f'{run.name}: top-1 {result["last_top1"]:.2f}{best} ({result["seconds"]:.0f} s)')

    def left(self, run: Run, why: str) -> None:
        """A run has ended before its time."""
        self._remove(run)
        self.say(f'{run.name}: {why}')

    def _remove(self, run: Run) -> None:
        if self._bars is not None:
            self._bars.remove_task(self._tasks.pop(run.folder))
            self._bars.update(self._all, completed=self._done(), description=self._title())

    def _title(self) -> str:
        return f'{sum(share == 1 for share in self._shares.values())} of {len(self._shares)} runs'

    def _done(self) -> float:
        return sum(self._shares.values())

    def _share(self) -> float:
        return self._done() / len(self._shares)

    def _time_left(self) -> str:
        gained = self._share() - self._at_start
        if gained <= 0:
            return 'time left unknown'
        seconds = (time.monotonic() - self._started_at) * (1 - self._share()) / gained
        return f'about {seconds / 3600:.1f} h left' if seconds > 5400 else f'about {seconds / 60:.0f} min left'


def plan(comparison: Comparison) -> list[str]:
    """What a comparison would do, a line a run.

    Raises:
        InputError: A folder holds a run of another config.
    """
    lines = []
    for run in comparison.runs:
        check_unchanged(run)
        if (run.folder / RESULTS_FILE).is_file():
            state = 'done'
        elif has_trained(run):
            state = 'to go on'
        else:
            state = 'to train'
        lines.append(f'{state:9} {run.name}: {run.recipe}, {run.folder}')
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``compare``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', help='a file under configs/compare/, or one of your own')
    parser.add_argument('--work-dir', type=Path, help="the comparison's own folder (default: the file's)")
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows')
    parser.add_argument('--seeds', nargs='+', type=int, metavar='SEED', help='only these seeds')
    parser.add_argument('--jobs', type=int, default=1, help='runs at once; they share the cores (default: %(default)s)')
    parser.add_argument('--cluster', choices=('local', 'slurm'), help='submit the runs through submitit')
    parser.add_argument(
        '--cluster-options',
        nargs='+',
        action=ConfigOptions,
        default={},
        metavar='KEY=VALUE',
        help="submitit's: timeout_min=600 slurm_partition=gpu gpus_per_node=1 cpus_per_task=4",
    )
    parser.add_argument('--dry-run', action='store_true', help='say what would be trained, show what there is')
    parser.add_argument('--table', choices=FORMATS, default='text', help='form of the table (default: %(default)s)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='override options of every run: train_dataloader.dataset.data_root=/data/cifar100',
    )
    args = parser.parse_args(argv)
    if args.jobs < 1:
        raise InputError(f'--jobs must be 1 or more, not {args.jobs}.')
    comparison = read_comparison(args.file, args.work_dir, args.rows, args.seeds, args.cfg_options)
    table = _printer(comparison, args.table)
    if args.dry_run:
        print('\n'.join(plan(comparison)), file=sys.stderr)
        results = finished(comparison)
        if results:
            table(results)
        return
    places: LocalProcesses | ClusterJobs
    if args.cluster is None:
        places = LocalProcesses(args.jobs)
    else:
        places = ClusterJobs(args.cluster, args.jobs, comparison.work_dir / '.cluster', args.cluster_options)
    with stopping_in_order():
        outcome = compare(comparison, places)
    if outcome.results:
        table(outcome.results)
    if outcome.failed:
        reasons = '; '.join(f'{name} ({reason})' for name, reason in outcome.failed.items())
        raise InputError(f'{len(outcome.failed)} of {len(comparison.runs)} runs failed: {reasons}')
    if outcome.stopped:
        names = '; '.join(run.name for run in outcome.stopped)
        print(f'told to stop: {names}; the same command goes on', file=sys.stderr)
        raise SystemExit(PREEMPTED)


def _printer(comparison: Comparison, form: str) -> Callable[[list[dict]], None]:
    def show(results: list[dict]) -> None:
        width = Console().width if sys.stdout.isatty() else 300  # a file has no edge to wrap at
        print(format_table(results, form, comparison.reference, width), flush=True)

    return show
