"""The figures as tables and as JSON."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from crld_zoo.errors import InputError
from crld_zoo.files import write_atomically

from .compare import REFERENCE, Comparison
from .step import PARTS, StepTimes
from .timing import Spread

BOXES = dict(text=box.HEAVY_HEAD, markdown=box.MARKDOWN)
"""The forms of a table."""

_MIB = 2**20
_SHORT = {'waiting for data': 'waiting', **{part: part for part in PARTS}}


def describe(machine: dict, threads: int) -> str:
    """The machine in one line."""
    features = ', '.join(machine['features']) or 'no known vector instructions'
    return (
        f'{machine["cpu"]}, {machine["cores"]} cores ({features}), GPU: {machine["gpu"] or "none"}, torch '
        f'{machine["torch"]} with {threads} threads, load {machine["load"]}'
    )


def step_table(title: str, times: StepTimes) -> Table:
    """One row a part of the step."""
    table = _table(title, 'part', 'ms a step', 'smallest to largest', 'images/s', 'share of the step')
    shares = times.shares

    def row(name: str, spread: Spread | None, share: float | None = None, speed: float | None = None, **style) -> None:
        if spread is None:
            return
        ms = spread.scaled(lambda seconds: seconds * 1e3)
        table.add_row(
            name,
            f'{ms.median:.2f}',
            f'{ms.low:.2f} to {ms.high:.2f}',
            f'{times.batch_size / spread.median if speed is None else speed:,.0f}',
            '' if share is None else f'{share:.1%}',
            **style,
        )

    row('whole loop, through the Runner', times.loop, 1, times.images_per_second.median, style='bold')
    row('waiting for data', times.waiting, shares['waiting for data'])
    labels = dict(
        views='views and normalization',
        teacher='teacher forward',
        student='student forward and backward',
        distiller='distiller forward and backward',
        optimizer='optimizer',
    )
    for name, part in times.parts.items():
        row(labels[name], part, shares[name])
    table.add_row(
        'rest of the loop',
        f'{shares["rest of the loop"] * times.loop.median * 1e3:.2f}',
        '',
        '',
        f'{shares["rest of the loop"]:.1%}',
        end_section=True,
    )
    row('data path alone', times.data)
    row('floor: the convolutions alone', times.floor)
    row('the pair of views, ours', times.pair)
    row('the pair of views, Pillow', times.pil_pair)
    return table


def step_lines(times: StepTimes) -> list[str]:
    """What the table has no row for."""
    lines = [
        f'the step takes {times.times_the_floor:.2f} times its floor',
        f'peak memory {times.peak_memory / _MIB:,.0f} MiB',
    ]
    if times.pil_ratio is not None:
        ratio = times.pil_ratio
        lines.append(
            f'Pillow takes {ratio.median:.1f} times as long for the same pair of views '
            f'({ratio.low:.1f} to {ratio.high:.1f})'
        )
    return lines


def comparison_table(title: str, comparison: Comparison) -> Table:
    """One row a side."""
    table = _table(
        title, '', 'images/s', 'smallest to largest', 'times the reference', 'best setting', 'peak memory, MiB'
    )
    for name, speeds in comparison.speeds.items():
        spread = Spread.of(speeds)
        ratio = None if name == REFERENCE else comparison.ratio(name)
        table.add_row(
            name,
            f'{spread.median:.1f}',
            f'{spread.low:.1f} to {spread.high:.1f}',
            '' if ratio is None else f'{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})',
            str(comparison.chosen[name]),
            f'{comparison.peak_memory[name] / _MIB:,.0f}',
        )
    return table


def summary_table(rows: Sequence[tuple[str, int, Comparison, dict[str, StepTimes]]]) -> Table:
    """One row a recipe, batch size and way of computing: how it compares, and where its time goes.

    Args:
        rows: A recipe's name, its batch size, its comparison, and its step by way.
    """
    table = _table(
        'against the reference protocol',
        'recipe',
        'batch',
        'way',
        'reference images/s',
        'images/s',
        'ratio',
        'times its floor',
        *_SHORT.values(),
        'memory: reference, ours',
    )
    for name, batch_size, comparison, steps in rows:
        for way in comparison.speeds:
            if way == REFERENCE:
                continue
            step = steps.get(way)  # none where the parts do not run by themselves
            reference, ours = (Spread.of(comparison.speeds[side]).median for side in (REFERENCE, way))
            memory = (comparison.peak_memory[side] / _MIB for side in (REFERENCE, way))
            table.add_row(
                name,
                str(batch_size),
                way,
                f'{reference:.0f}',
                f'{ours:.0f}',
                f'{comparison.ratio(way).median:.2f}',
                '' if step is None else f'{step.times_the_floor:.2f}',
                *('' if step is None else f'{step.shares.get(part, 0):.1%}' for part in _SHORT),
                ', '.join(f'{held:,.0f}' for held in memory),
            )
    return table


def rows_table(records: Sequence[Mapping], baseline: str, form: str = 'text') -> Table:
    """One row a row of a compare file.

    Args:
        records: As in the JSON: ``row``, ``images_per_second``, ``ratio``, ``peak_memory``.
        baseline: The row that the others are held against.
        form: One of :data:`BOXES`.
    """
    table = Table(box=BOXES[form])
    for title in ('', 'images/s', f'times {baseline}', 'smallest to largest', 'memory, MiB', f'minus {baseline}'):
        table.add_column(title, justify='right' if title else 'left', no_wrap=True)
    (base,) = (record['peak_memory'] for record in records if record['row'] == baseline)
    for record in records:
        ratio = record['ratio']
        table.add_row(
            escape(record['row']),
            f'{record["images_per_second"]["median"]:,.0f}',
            f'{ratio["median"]:.2f}',
            f'{ratio["low"]:.2f} to {ratio["high"]:.2f}',
            f'{record["peak_memory"] / _MIB:,.0f}',
            f'{(record["peak_memory"] - base) / _MIB:+,.0f}',
        )
    return table


def row_line(record: Mapping) -> str:
    """What was measured of one row, while others are still to come."""
    return (
        f'{record["row"]}: {record["images_per_second"]["median"]:,.0f} images/s, {record["ratio"]["median"]:.2f} of '
        f'the baseline, peak memory {record["peak_memory"] / _MIB:,.0f} MiB'
    )


def check_writable(path: Path) -> None:
    """See before anything is measured that the figures can be written.

    Raises:
        InputError: There is no such folder.
    """
    if not path.resolve().parent.is_dir():
        raise InputError(f'there is no folder {path.resolve().parent} to write {path.name} into: make it first.')


def write_json(path: Path, record: dict) -> None:
    """Write a record with the command that made it."""
    record = dict(command=shlex.join(['python', *sys.argv]), **record)
    write_atomically((json.dumps(record, indent=2) + '\n').encode(), path)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify='left')
    for number, column in enumerate(columns):
        table.add_column(column, justify='right' if number else 'left')
    return table
