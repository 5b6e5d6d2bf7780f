"""Where the time of a training step goes.

With --compare, also how many images a second it trains on, in fp32 and in bf16, against the usual way to write it:
Pillow views in loader workers, fp32, one pass a view, a loss read every step. Several recipes and batch sizes make one
table. With --against, the config is a compare file: a step of each of its rows in turn with that of one of them, and
the memory. Figures and machines: docs/performance.md.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console

from crld_zoo.errors import InputError, UnknownNameError, nearest_names
from crld_zoo.launch.compare_file import read_comparison
from crld_zoo.launch.options import ConfigOptions

from . import OURS, Comparison, Options, StepTimes, compare, describe_machine, grid, in_way, time_step
from .report import (
    BOXES,
    check_writable,
    comparison_table,
    describe,
    row_line,
    rows_table,
    step_lines,
    step_table,
    summary_table,
    write_json,
)
from .rows import time_rows


def positive(kind: type):
    """A type of argument: a number above 0."""

    def parse(text: str):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f'{text} is not above 0')
        return value

    return parse


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'configs', type=Path, nargs='+', metavar='config', help='a recipe under configs/, or one of your own'
    )
    parser.add_argument('--compare', action='store_true', help='time against the reference protocol as well')
    parser.add_argument('--against', metavar='ROW', help='time the rows of a compare file against this one')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='with --against: only these rows')
    parser.add_argument(
        '--table',
        choices=sorted(BOXES),
        default='text',
        help='with --against: form of the table (default: %(default)s)',
    )
    parser.add_argument(
        '--batch-size',
        type=positive(int),
        nargs='+',
        default=[None],
        metavar='IMAGES',
        help="images in a batch (default: the config's)",
    )
    parser.add_argument('--repeats', type=positive(int), default=5, help='measurements of each (default: %(default)s)')
    parser.add_argument(
        '--seconds',
        type=positive(float),
        default=3.0,
        help='how long one measurement of the loop lasts, about (default: %(default)s)',
    )
    parser.add_argument(
        '--threads',
        type=positive(int),
        help="torch's threads (default: torch's; with --compare, the best of several on each side)",
    )
    parser.add_argument(
        '--processor-time',
        action='store_true',
        help='with one thread: seconds of the processor, not of the wall; what other processes do on '
        'the machine hardly disturbs then',
    )
    parser.add_argument(
        '--amp', action='store_true', help='bf16 autocast; the losses stay in fp32 (--compare measures both anyway)'
    )
    parser.add_argument(
        '--ways',
        nargs='+',
        metavar='WAY',
        help='with --compare: how ours computes, as fp32, tf32 or bf16 with +graph or +compile or both behind it '
        f'(default: {" ".join(OURS)})',
    )
    parser.add_argument(
        '--workers',
        type=int,
        nargs='+',
        metavar='NUMBER',
        help='with --compare: loader workers of the reference that are tried (default: several numbers)',
    )
    parser.add_argument('--synthetic', action='store_true', help="random images of the data set's size")
    parser.add_argument(
        '--image-size',
        type=positive(int),
        metavar='PIXELS',
        help="side of the synthetic images (default: found in the config's views)",
    )
    parser.add_argument(
        '--random-weights',
        action='store_true',
        help="do not read the teacher's checkpoint; the timings do not depend on it",
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write every figure there')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        default={},
        metavar='KEY=VALUE',
        help='override options of the config',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``benchmark``."""
    args = parse_args(argv)
    if (args.ways or args.workers) and not args.compare:
        raise InputError('--ways and --workers say what is compared: take --compare as well.')
    if args.rows and args.against is None:
        raise InputError('--rows says which rows of a compare file are timed: take --against as well.')
    if args.against is not None and (args.compare or len(args.configs) > 1 or len(args.batch_size) > 1):
        raise InputError('--against takes one compare file at one batch size, without --compare.')
    ways = args.ways or OURS
    for way in ways:
        in_way(Options(args.configs[0]), way)
    if args.json is not None:
        check_writable(args.json)
    if args.processor_time:
        if args.threads not in (None, 1):
            raise InputError('--processor-time adds up the time of all threads: leave --threads out, it is 1 then.')
        args.threads = 1
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    machine = describe_machine()
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(describe(machine, torch.get_num_threads()))
    if args.against is not None:
        time_methods(args, machine, console)
        return
    rows: list[tuple[str, int, Comparison, dict[str, StepTimes]]] = []
    records = []
    for config, batch_size in itertools.product(args.configs, args.batch_size):
        options = options_of(args, config, batch_size, args.cfg_options)
        comparison = compared(args, options, machine['cores'], console) if args.compare else None
        steps = {}
        for precision in ways if args.compare else [OURS[args.amp]]:
            if '+' in precision:  # the parts of a graph or of a compiled step do not run by themselves
                continue
            if comparison is not None and args.threads is None:
                torch.set_num_threads(comparison.chosen[precision].threads)
            step = steps[precision] = time_step(in_way(options, precision), args.repeats, args.seconds)
            title = f'{config.stem}, {precision}, batch {step.batch_size}'
            console.print(step_table(title, step), *step_lines(step), '', sep='\n')
        if comparison is not None:
            rows.append((config.stem, step.batch_size, comparison, steps))
        records.append(
            dict(
                config=str(config),
                batch_size=step.batch_size,
                compare=None if comparison is None else comparison.to_dict(),
                step={precision: step.to_dict() for precision, step in steps.items()},
            )
        )
        if args.json is not None:  # after each, so that hours of measuring do not hang on the last one
            write_json(args.json, dict(machine=machine, options=asked(args), rows=records))
    if args.compare:
        console.print(summary_table(rows))


def options_of(args: argparse.Namespace, config: Path, batch_size: int | None, overrides: Mapping) -> Options:
    """What is measured of a config."""
    return Options(
        config=config,
        batch_size=batch_size,
        amp=args.amp,
        synthetic=args.synthetic,
        image_size=args.image_size,
        random_weights=args.random_weights,
        processor_time=args.processor_time,
        overrides=dict(overrides),
    )


def asked(args: argparse.Namespace) -> dict:
    """What a record keeps of the command."""
    names = ('repeats', 'seconds', 'threads', 'processor_time', 'synthetic', 'image_size', 'random_weights')
    return {name: getattr(args, name) for name in (*names, 'cfg_options')}


def time_methods(args: argparse.Namespace, machine: dict, console: Console) -> None:
    """The rows of a compare file against one of them, as a table on the console."""
    comparison = read_comparison(args.configs[0], None, args.rows, None, args.cfg_options)
    runs = {run.row: run for run in comparison.runs}  # a step does not depend on the seed
    if args.against not in runs:
        raise UnknownNameError(f"--against: there is no row '{args.against}' ({nearest_names(args.against, runs)}).")
    if len(runs) < 2:
        raise InputError(f"--rows: there is nothing to hold against '{args.against}'.")
    records: list[dict] = []

    def save() -> None:
        if args.json is not None:
            write_json(args.json, dict(machine=machine, options=asked(args), against=args.against, rows=records))

    with tempfile.TemporaryDirectory() as folder:
        rows = {}
        for number, (name, run) in enumerate(runs.items()):
            config = Path(folder, f'{number}.py')
            config.write_text(run.config.pretty_text, encoding='utf-8')
            rows[name] = options_of(args, config, args.batch_size[0], {})
        for name, cost in time_rows(rows, args.against, args.repeats, args.seconds, torch.get_num_threads()):
            record = dict(row=name, recipe=runs[name].recipe, **cost.to_dict())
            console.print(row_line(record), highlight=False, markup=False)
            records.append(record)
            save()
    order = list(runs)
    records.sort(key=lambda record: order.index(record['row']))
    save()
    console.print('', rows_table(records, args.against, args.table))


def compared(args: argparse.Namespace, options: Options, cores: int, console: Console) -> Comparison:
    """Ours against the reference, as a table on the console."""
    settings = grid(cores, args.threads, args.processor_time, args.ways or OURS, args.workers)
    comparison = compare(options, args.repeats, args.seconds, settings)
    console.print(comparison_table(options.config.stem, comparison), '')
    return comparison
