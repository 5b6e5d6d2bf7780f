"""The main job on a sample that ships with scikit-learn: train a teacher, a baseline and two distilled students.

Ends with a table of what each scores on the test set. Needs no network and no GPU.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mmengine.runner import find_latest_checkpoint
from rich.console import Console
from rich.table import Table

from crld_zoo.config_files import PREFIX, read_config
from crld_zoo.errors import InputError
from crld_zoo.evaluation.functional import measure

from .student import load_student

TEACHER = 'ce_r20_digits'
STUDENTS = {
    'student, cross-entropy': 'ce_r8_digits',
    'student, KD': 'kd_r20_r8_digits',
    'student, DKD+CRLD': 'dkd+crld_r20_r8_digits',
}


def train(config: str, work_dir: Path, options: list[str]) -> float:
    """Run the command that a user would, in a new folder, and say so; the seconds it took."""
    shutil.rmtree(work_dir, ignore_errors=True)  # an earlier demo's
    command = ['train', config, '--work-dir', str(work_dir), *options]
    print(f'\n$ crld-zoo {" ".join(command)}', flush=True)
    start = time.perf_counter()
    # Networks this small do not gain from a second thread, and lose much where another process wants the core.
    environment = {'OMP_NUM_THREADS': '1', **os.environ}
    if subprocess.run([sys.executable, '-m', 'crld_zoo.launch.cli', *command], env=environment, check=False).returncode:
        raise InputError(f'training {config} failed; its output above says why, its log is under {work_dir}.')
    return time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``quickstart``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/quickstart'),
        help='where everything goes (default: %(default)s)',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of every training (default: %(default)s)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override options of every config, for example train_cfg.max_epochs=2',
    )
    args = parser.parse_args(argv)
    base = args.work_dir.resolve()

    table = Table(
        '',
        'top-1 %',
        'top-5 %',
        'ECE %',
        'agrees with teacher %',
        'parameters',
        'seconds',
        'work directory',
        title='Handwritten digits, 500 test images, last epoch',
    )
    teacher = None
    for label, name in {'teacher': TEACHER, **STUDENTS}.items():
        config = f'{PREFIX}quickstart/{name}.py'
        options = ['--seed', str(args.seed)]
        overrides = list(args.cfg_options)
        if read_config(config).model.get('teacher'):
            overrides.append(f'model.teacher.checkpoint={find_latest_checkpoint(base / TEACHER)}')
        seconds = train(config, base / name, [*options, *(['--cfg-options', *overrides] if overrides else [])])
        student = load_student(base / name, 'last')
        logits, labels = student.outputs(split='test')
        teacher = logits if teacher is None else teacher
        measured = measure(logits, teacher, labels)
        table.add_row(
            label,
            f'{measured["top1"]:.1f}',
            f'{measured["top5"]:.1f}',
            f'{100 * measured["ece"]:.1f}',
            f'{measured["agreement"]:.1f}',
            f'{sum(parameter.numel() for parameter in student.network.parameters()):,}',
            f'{seconds:.0f}',
            str(args.work_dir / name),
        )
    Console(width=150 if not sys.stdout.isatty() else None).print('', table)
