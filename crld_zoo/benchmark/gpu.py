"""Everything that a machine with a GPU can show, in one command and at most nine minutes.

The tests that need a GPU, the step of several recipes against the reference protocol, and trainings on CIFAR-100 whose
accuracy stands beside the CPU's. Each is a step of its own, with a time limit: what fails is listed and stops nothing
else. Nothing is downloaded. Without a GPU the same steps run at small sizes, to find their own mistakes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from crld_zoo.errors import InputError
from crld_zoo.files import write_atomically

from .machine import describe_machine
from .timing import Spread

ROOT = Path(__file__).resolve().parents[2]
BUDGET = 530
RECIPE = 'configs/crld/kd+crld_r56_r20_cifar100.py'
SHORT = dict(epochs=2, fraction=0.2, seed=0)
"""The training that the CPU has done as well: its epochs, and its share of the images."""
ON_CPU = ROOT / 'docs/performance/training_cpu.json'
_PAIRS = (
    RECIPE,
    'configs/crld/kd+crld_r32x4_r8x4_cifar100.py',
    'configs/crld/kd+crld_wrn40-2_wrn16-2_cifar100.py',
    'configs/crld/mlld+crld_r56_r20_cifar100.py',
)
_WAYS = ('fp32', 'tf32', 'bf16', 'tf32+graph', 'bf16+graph')
_WAYS_OF_A_CPU = ('fp32', 'bf16')
_TRAINING = 240 * 50_000
"""Images of a training on CIFAR-100 as the papers have it."""
_IN_MEMORY = [  # the arithmetic alone: reading and decoding files is the loader's
    "train_dataloader.dataset={'_delete_': True, 'type': 'SyntheticImages', 'num_images': 1024, 'num_classes': 1000, "
    "'size': 224, 'device': 'auto'}",
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'train_dataloader.pin_memory=False',
    "train_dataloader.collate_fn={'type': 'as_batch'}",
    'model.data_preprocessor.to_rgb=False',
    'model.data_preprocessor.views.weak=[]',  # the recipe's crops are the pipeline's
]


@dataclass(frozen=True)
class Step:
    """One thing to do, in a process of its own.

    Attributes:
        name: Of its files.
        command: What is run.
        limit: Seconds that it may take.
        figures: Reads what it wrote.
        lacks: What it cannot do without and is not there; it is left out then.
    """

    name: str
    command: Sequence[str]
    limit: float
    figures: Callable[[], object] = dict
    lacks: str = ''


def run_step(step: Step, log: Path, limit: float) -> dict:
    """Run a step; how it ended, after how long, and what it found. It is ended with all its children after the limit.

    Args:
        step: What is run.
        log: Where its output goes.
        limit: Seconds that it gets.
    """
    if step.lacks:
        return dict(state='left out', reason=step.lacks)
    if limit < 1:
        return dict(state='left out', reason='no time was left')
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), *_python_path()]), 'PYTHONUNBUFFERED': '1'}
    start, state = time.monotonic(), 'done'
    with log.open('w') as output:
        process = subprocess.Popen(
            step.command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            if process.wait(limit):
                state = 'failed'
        except subprocess.TimeoutExpired:
            state = 'out of time'
        finally:
            _end(process)
    result = dict(state=state, seconds=round(time.monotonic() - start, 1), command=shlex.join(step.command))
    if state != 'done':
        result['reason'] = _last_words(log) if state == 'failed' else f'it had {limit:.0f} s'
    try:
        result['figures'] = step.figures()
    except (OSError, ValueError, KeyError, IndexError, ElementTree.ParseError) as error:
        if state == 'done':
            result.update(state='failed', reason=f'it wrote no figures ({type(error).__name__}: {error})')
    return result


def _end(process: subprocess.Popen) -> None:
    """End what is left of a step: the children of a measurement train on if nobody tells them."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            continue
        time.sleep(0.2)  # its children have had the signal too
    process.wait()


def _python_path() -> list[str]:
    return [path for path in (os.environ.get('PYTHONPATH'),) if path]


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors='replace').splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(('error:', 'E  ', 'FAILED'))]
    return (errors or lines or ['it said nothing'])[-1].strip()[:300]


def steps_for(args: argparse.Namespace, out: Path, gpus: int, left: float = math.inf) -> list[Step]:
    """All steps, the ones that the others depend on first.

    Args:
        args: Those of the command.
        out: Where the steps write.
        gpus: How many GPUs there are; without one everything is small.
        left: Seconds that are left, which bound the last training.
    """
    sizes = ('64', '256') if gpus else ('4',)
    each = ['--seconds', '0.5', '--repeats', '5'] if gpus else ['--seconds', '0.05', '--repeats', '1']
    compare = ['--compare', '--synthetic', '--workers', *(('8', '16') if gpus else ('0',))]
    pairs = [args.recipe] if args.recipe else _PAIRS

    def timing(name: str, recipe: str | Path, limit: float, *options: str) -> Step:
        file = out / f'{name}.json'
        command = [sys.executable, 'tools/benchmark.py', str(recipe), '--random-weights', '--threads', '1', *each]
        limit = limit if gpus else 600
        return Step(name, [*command, '--json', str(file), *options], limit, lambda: json.loads(file.read_text()))

    def pair(recipe: str | Path) -> Step:
        ways = _WAYS if gpus else _WAYS_OF_A_CPU
        return timing(f'step_{Path(recipe).stem}', recipe, 100, *compare, '--batch-size', *sizes, '--ways', *ways)

    first, *others = [pair(recipe) for recipe in pairs]
    steps = [_tests(out), first, _training(args, out, 'training', gpus)]
    if gpus:
        steps.append(_training(args, out, 'training_bf16_graph', gpus, '--amp', graph=True))
    steps += others
    if not args.recipe:
        steps.append(
            timing(
                'step_imagenet',
                'configs/crld/kd+crld_r34_r18_imagenet.py',
                60,
                *('--batch-size', '256' if gpus else '2'),
                *(('--amp',) if gpus else ()),
                *('--cfg-options', *_IN_MEMORY),
            )
        )
    if gpus:
        steps.append(_training(args, out, 'training_long', gpus, '--amp', graph=True, seconds=min(180, left)))
    if gpus and not args.recipe:
        ways = ('bf16+compile', 'bf16+graph+compile')
        steps.append(timing('step_compiled', RECIPE, 120, *compare, '--batch-size', '64', '--ways', *ways))
    return steps


def _tests(out: Path) -> Step:
    """The tests marked ``cuda``; only files that have one are read."""
    files = sorted(path for path in (ROOT / 'tests').rglob('test_*.py') if 'pytest.mark.cuda' in path.read_text())
    report = out / 'tests.xml'
    command = [sys.executable, '-m', 'pytest', '-m', 'cuda', '-q', '-p', 'no:cacheprovider', f'--junitxml={report}']
    if importlib.util.find_spec('xdist') and torch.cuda.is_available():
        command += ['-n', '4', '--dist', 'loadfile']
    lacks = '' if importlib.util.find_spec('pytest') else 'pytest is not installed'
    lacks = lacks or ('' if files else f'there are no tests beside the package in {ROOT}')
    return Step('tests', [*command, *map(str, files)], 150, lambda: read_tests(report), lacks)


def read_tests(report: Path) -> dict:
    """How many tests passed, were skipped and failed, and the names of those that failed."""
    cases = ElementTree.parse(report).getroot().iter('testcase')
    found: dict = dict(passed=0, skipped=0, failed=[])
    for case in cases:
        kinds = {part.tag for part in case}
        if kinds & {'failure', 'error'}:
            found['failed'].append(f'{case.get("classname")}::{case.get("name")}')
        else:
            found['skipped' if 'skipped' in kinds else 'passed'] += 1
    return found


def _training(
    args: argparse.Namespace, out: Path, name: str, gpus: int, *options: str, graph: bool = False, seconds: float = 0
) -> Step:
    """A training on CIFAR-100: the one that the CPU has done, or as many whole epochs as the seconds allow."""
    data, teacher, work_dir = Path(args.data).absolute(), Path(args.teacher).absolute(), out / name
    places = {'CIFAR-100 (--data)': data, "the teacher's weights (--teacher)": teacher}
    lacks = '; '.join(f'{what} not at {path}' for what, path in places.items() if not path.exists())
    epochs = int(SHORT['epochs'])
    share: float | None = SHORT['fraction'] if gpus or args.full else 0.01
    changes: dict[str, object] = {
        'model.teacher.checkpoint': teacher,
        **{f'{split}_dataloader.dataset.data_root': data for split in ('train', 'val')},
        **{f'{split}_dataloader.dataset.download': False for split in ('train', 'val')},
        'default_hooks.teacher_accuracy': None,
        'default_hooks.checkpoint.snapshot_interval': 0,
        'model.graph': graph,
    }
    if seconds:
        # Each epoch is validated; the schedule is the recipe's, as far as the seconds reach at the speed of the last.
        speed = max((_speed(out / before) for before in ('training_bf16_graph', 'training')), default=0.0)
        epochs, share = max(1, int(0.7 * seconds * speed / 50_000)), None
        milestones = [max(1, round(epochs * at / 240)) for at in (150, 180, 210)]
        changes['param_scheduler.milestones'] = str(sorted(set(milestones))).replace(' ', '')
        lacks = lacks or ('' if speed else 'no shorter training has said how fast it is')
    if share is not None:
        changes['train_dataloader.dataset.fraction'] = share
    changes.update({'train_cfg.max_epochs': epochs, 'train_cfg.val_interval': 1 if seconds else epochs})
    command = [sys.executable, 'tools/train.py', RECIPE, '--work-dir', str(work_dir), '--seed', str(SHORT['seed'])]
    command += [*options, '--cfg-options', *(f'{key}={value}' for key, value in changes.items())]
    figures = lambda: dict(read_training(work_dir), epochs=epochs, fraction=share or 1.0)  # noqa: E731
    return Step(name, command, seconds or (90 if gpus else 3600), figures, lacks)


def read_training(work_dir: Path) -> dict:
    """The last accuracy, and the median of the images a second."""
    records = [json.loads(line) for path in work_dir.rglob('scalars.json') for line in path.read_text().splitlines()]
    speeds = [record['images_per_second'] for record in records if 'images_per_second' in record]
    return dict(
        top1=[record['accuracy/top1'] for record in records if 'accuracy/top1' in record][-1],
        images_per_second=Spread.of(speeds).median if speeds else None,
    )


def _speed(work_dir: Path) -> float:
    try:
        return read_training(work_dir)['images_per_second'] or 0.0
    except (OSError, ValueError, IndexError):
        return 0.0


def page(record: Mapping) -> str:
    """Everything that was found, for people, in Markdown."""
    machine, steps = record['machine'], record['steps']
    device = f'{machine["gpu"]} ({record["gpus"]} of them)' if machine['gpu'] else 'no GPU: nothing here is of one'
    lines = [
        '# What the GPU shows',
        '',
        f'{device}; {machine["cpu"]}, {machine["cores"]} cores; torch {machine["torch"]}.',
    ]
    if record['missing']:
        lines += ['', 'Missing:', '', *(f'- {each}' for each in record['missing'])]
    lines += ['', '## Steps', '', '| step | | seconds | |', '| --- | --- | --- | --- |']
    for name, result in steps.items():
        reason = str(result.get('reason', '')).replace('|', '\\|')
        lines.append(f'| {name} | {result["state"]} | {result.get("seconds", "")} | {reason} |')
    tests = steps.get('tests', {}).get('figures')
    if tests:
        lines += [
            '',
            '## Tests',
            '',
            f'{tests["passed"]} passed, {tests["skipped"]} skipped, {len(tests["failed"])} failed',
        ]
        if tests['failed']:
            lines += ['', *(f'- {name}' for name in tests['failed'])]
    rows = [row for name, result in steps.items() if name.startswith('step_') for row in _timings(result)]
    if rows:
        lines += ['', '## A training step', '']
        lines += [
            'The last two are for 240 epochs of 50,000 images at this speed: hours, and what the GPU uses, without the '
            'rest of the machine.',
            '',
            '| recipe | batch | way | images/s | times the reference | times its floor | memory, MiB | hours | kWh |',
        ]
        lines += ['| --- ' * 9 + '|', *rows]
    trained = {
        name: result['figures']
        for name, result in steps.items()
        if name.startswith('training') and result.get('figures')
    }
    if trained:
        lines += ['', '## Trainings', '', '| | epochs | of the images | top-1, % | images/s |', '| --- ' * 5 + '|']
        on_cpu = json.loads(ON_CPU.read_text()) if ON_CPU.is_file() else {}
        if _amount(on_cpu) == _amount(trained.get('training', {})):
            trained = {'the same as `training`, on a CPU': on_cpu, **trained}
        for name, figures in trained.items():
            speed = figures['images_per_second']
            lines.append(
                f'| {name} | {figures["epochs"]} | {figures["fraction"]:.0%} | {figures["top1"]:.2f} | '
                f'{"" if speed is None else _speed_in_words(speed)} |'
            )
    return '\n'.join(lines) + '\n'


def _amount(figures: Mapping) -> tuple:
    """How much was trained: accuracies stand side by side only after the same."""
    return figures.get('epochs'), figures.get('fraction')


def _speed_in_words(speed: float) -> str:
    return f'{speed:,.0f}' if speed >= 100 else f'{speed:.1f}'


def _timings(result: Mapping) -> list[str]:
    """Rows of the table of steps."""
    rows = []
    for row in (result.get('figures') or {}).get('rows', ()):
        comparison, recipe = row['compare'], Path(row['config']).stem
        floors = {way: step['times_the_floor'] for way, step in row['step'].items()}

        def line(
            way: str, speed: float, ratio: str, memory: float, training: str, recipe=recipe, row=row, floors=floors
        ) -> str:
            floor = f'{floors[way]:.2f}' if way in floors else ''
            return (
                f'| {recipe} | {row["batch_size"]} | {way} | {_speed_in_words(speed)} | {ratio} | {floor} | '
                f'{memory / 2**20:,.0f} | {training} |'
            )

        if comparison is None:
            rows += [
                line(way, step['images_per_second']['median'], '', step['peak_memory'], ' | ')
                for way, step in row['step'].items()
            ]
            continue
        for way, speed in comparison['images_per_second'].items():
            ratio = comparison['ratio'].get(way)
            text = '1' if ratio is None else f'{ratio["median"]:.2f} ({ratio["low"]:.2f} to {ratio["high"]:.2f})'
            joules = comparison['joules'][way]
            energy = '' if joules is None else f'{_TRAINING * joules / 3.6e6:.2f}'
            training = f'{_TRAINING / speed["median"] / 3600:.1f} | {energy}'
            rows.append(line(way, speed['median'], text, comparison['peak_memory'][way], training))
    return rows


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/gpu'), help='a folder for all figures (%(default)s)'
    )
    parser.add_argument('--budget', type=float, default=BUDGET, help='seconds for everything (default: %(default)s)')
    parser.add_argument('--only', nargs='+', metavar='STEP', help='these steps alone; what others found is kept')
    parser.add_argument('--dry-run', action='store_true', help='say what would be done, and what is missing')
    parser.add_argument('--data', default='data/cifar100', help='folder of CIFAR-100 (default: %(default)s)')
    parser.add_argument(
        '--teacher',
        default='work_dirs/ce_r56_cifar100/epoch_240.pth',
        help='checkpoint of a ResNet56 on CIFAR-100 (default: %(default)s)',
    )
    parser.add_argument('--recipe', type=Path, help='time the steps of this recipe instead of the usual ones')
    parser.add_argument('--full', action='store_true', help="train on the CPU what a GPU's accuracy is held against")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    start = time.monotonic()
    args = parse_args(argv)
    out, gpus = args.out.absolute(), torch.cuda.device_count()
    steps = steps_for(args, out, gpus)
    names = [step.name for step in steps]
    if unknown := [name for name in args.only or () if name not in names]:
        raise InputError(f'there is no step {", ".join(unknown)}: there are {", ".join(names)}.')
    machine = describe_machine()
    absent = [f'{step.name}: {step.lacks}' for step in steps if step.lacks and 'no shorter training' not in step.lacks]
    if not gpus:
        absent.insert(0, 'a GPU: everything is done at small sizes, and no figure is one of a GPU')
    elif gpus == 1:
        absent.append('a second GPU: the tests of two processes are skipped')
    print(f'GPU: {machine["gpu"] or "none"}; {machine["cores"]} cores; torch {machine["torch"]}')
    for each in absent:
        print(f'missing: {each}', flush=True)
    if args.dry_run:
        for step in steps:
            print(f'{step.name} (at most {step.limit:.0f} s): {shlex.join(step.command)}')
        return
    out.mkdir(parents=True, exist_ok=True)
    file = out / 'results.json'
    kept = json.loads(file.read_text())['steps'] if args.only and file.is_file() else {}
    record = dict(machine=machine, gpus=gpus, missing=absent, budget=args.budget, steps=kept)
    for name in args.only or names:
        left = args.budget - (time.monotonic() - start)
        # Made anew: how long a training may be depends on what was measured by then.
        step = {step.name: step for step in steps_for(args, out, gpus, left)}[name]
        result = record['steps'][name] = run_step(step, out / f'{name}.log', min(step.limit, left))
        print(f'{name}: {result["state"]}, {result.get("seconds", 0)} s {result.get("reason", "")}', flush=True)
        write_atomically((json.dumps(record, indent=1) + '\n').encode(), file)
        write_atomically(page(record).encode(), out / 'README.md')
    print(f'{out / "README.md"} has everything')


if __name__ == '__main__':
    main()
