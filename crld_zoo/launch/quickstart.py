"""The main job on a sample that ships with scikit-learn: a teacher, then students of it that know few labels.

ResNet20 learns to read digits from all 1,297 labels. ResNet8 knows five of each class and sees the other images without
their labels: alone it learns from 50 images, with the teacher from all of them. Ends with a table over three seeds.
Needs no network and no GPU.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.runner import find_latest_checkpoint
from rich.console import Console

from crld_zoo.config_files import PREFIX
from crld_zoo.engine.preemption import stopping_in_order
from crld_zoo.errors import InputError
from crld_zoo.report import format_table

from .compare import compare
from .compare_file import RESULTS_FILE, read_comparison, read_json
from .compare_jobs import LocalProcesses
from .methods import RESULTS
from .options import ConfigOptions
from .report import run_report

TEACHER, COMPARISON = f'{PREFIX}quickstart/ce_r20_digits.py', f'{PREFIX}compare/quickstart.py'
_MARK = '.quickstart'
_READ = """
How to read it. CE is the student on its 50 labels alone. Each other row minus CE, at the same seed, is what the teacher
gives through the 1,247 images that nobody labeled. The interval says how sure {seeds} seeds make that.
The digits do not tell the methods apart: the best students read as well as their teacher. Real images do:
{elsewhere}"""


def train_teacher(work_dir: Path, options: Sequence[str]) -> str:
    """Run the command that a user would, in a new folder, and say so; the checkpoint that it leaves.

    Raises:
        InputError: It failed.
    """
    command = ['train', TEACHER, '--work-dir', str(work_dir), *(['--cfg-options', *options] if options else [])]
    print(f'$ crld-zoo {" ".join(command)}', flush=True)
    # Networks this small do not gain from a second thread, and lose much where another process wants the core.
    environment = {'OMP_NUM_THREADS': '1', **os.environ}
    if subprocess.run([sys.executable, '-m', 'crld_zoo.launch.cli', *command], env=environment, check=False).returncode:
        raise InputError(f'training the teacher failed; its output above says why, its log is under {work_dir}.')
    return find_latest_checkpoint(work_dir)


def _own(folder: Path) -> None:
    """Make a folder the quickstart's, or see that it is: what an earlier one left there is replaced.

    Raises:
        InputError: It holds something else.
    """
    if not (folder / _MARK).exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f'{folder} is not empty and no earlier quickstart: choose another --work-dir.')
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARK).touch()


def short_results() -> list[dict] | None:
    """What the zoo measured on CIFAR-100; None outside of a clone."""
    return read_json(RESULTS / 'short_cifar100.json')


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``quickstart``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/quickstart'),
        help='where everything goes; an earlier quickstart there is replaced (default: %(default)s)',
    )
    parser.add_argument('--seeds', type=int, nargs='+', help='some of the three seeds (default: all)')
    parser.add_argument('--jobs', type=int, default=min(cores, 4), help='students at once (default: %(default)s)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override options of every config, for example train_cfg.max_epochs=2',
    )
    args = parser.parse_args(argv)
    if args.jobs < 1:
        raise InputError(f'--jobs must be 1 or more, not {args.jobs}.')
    base = args.work_dir.resolve()
    comparison = read_comparison(COMPARISON, base, seeds=args.seeds)
    _own(base)
    for folder in (base / 'teacher', base / 'report', *(base / row for row in comparison.rows)):
        shutil.rmtree(folder, ignore_errors=True)
    (base / RESULTS_FILE).unlink(missing_ok=True)
    checkpoint = train_teacher(base / 'teacher', args.cfg_options)
    options = {**ConfigOptions.parse(args.cfg_options), 'model.teacher.checkpoint': checkpoint}
    comparison = read_comparison(COMPARISON, base, seeds=args.seeds, cfg_options=options)
    print(f'$ crld-zoo compare {COMPARISON} --jobs {args.jobs}', flush=True)
    with stopping_in_order():
        outcome = compare(comparison, LocalProcesses(args.jobs))
    if outcome.failed or outcome.stopped:
        reasons = [f'{name} ({reason})' for name, reason in outcome.failed.items()]
        reasons += [f'{run.name} (told to stop)' for run in outcome.stopped]
        raise InputError(f'{len(reasons)} of {len(comparison.runs)} runs failed: {"; ".join(reasons)}')
    width = Console().width if sys.stdout.isatty() else 300  # a file has no edge to wrap at
    measured = short_results()
    print(format_table(outcome.results, 'text', comparison.reference, width))
    print(_READ.format(seeds=len({run.seed for run in comparison.runs}), elsewhere=_elsewhere(measured)))
    if measured:
        print(
            format_table(
                measured, 'text', dict.fromkeys((each['row'] for each in measured if each['row'] != 'CE'), 'CE'), width
            )
        )
    page = run_report([base / row for row in comparison.rows], base / 'report', baseline=comparison.rows[0])
    print(f'\nOpen in a browser: {page}\nAll results: {base / RESULTS_FILE}')


def _elsewhere(measured: list[dict] | None) -> str:
    return (
        'ResNet56 -> ResNet8 on CIFAR-100, 20,000 images, 8 epochs (docs/results.md).'
        if measured
        else 'see the results in the documentation (docs/results.md).'
    )
