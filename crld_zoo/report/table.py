"""Results of several rows and seeds as a table: text, Markdown, CSV, JSON, LaTeX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from crld_zoo.errors import InputError, UnknownNameError, nearest_names

from .statistics import Difference, mean_and_deviation, paired_difference

KINDS = ('last', 'best')
"""Which checkpoint: that of the last epoch, and that of the highest validation accuracy."""

MEASURES = ('top1', 'top5', 'ece', 'nll', 'agreement', 'kl')
"""What each is measured by, as :func:`crld_zoo.evaluation.measure` calls it."""

COSTS = ('seconds', 'images_per_second', 'parameters', 'flops')

LOSSES = ('loss_first', 'loss_last')
"""The whole training loss, in the first and in the last entry of the logs."""

_NUMBERS = [*(f'{kind}_{measure}' for kind in KINDS for measure in MEASURES), *LOSSES, *COSTS]


class Summary(NamedTuple):
    """One row over its seeds.

    Attributes:
        row: Its name.
        seeds: How many.
        values: Mean and standard deviation of each number of the results, by name.
        differences: From the reference at equal seeds, of ``last_top1`` and ``best_top1``; none for the reference.
    """

    row: str
    seeds: int
    values: Mapping[str, tuple[float, float | None]]
    differences: Mapping[str, Difference]


def summarize(results: Sequence[Mapping], reference: Mapping[str, str] | None = None) -> list[Summary]:
    """Rows in the order in which they come first.

    Args:
        results: One mapping a run: ``row``, ``seed``, and the numbers of :data:`KINDS`, :data:`MEASURES` and
            :data:`COSTS` as ``last_top1``, …, and of :data:`LOSSES`, of which any may be None or missing.
        reference: The row that each row is held against, where there is one.

    Raises:
        InputError: Two results of one row and seed.

    >>> runs = [dict(row='CE', seed=0, last_top1=60.0), dict(row='KD', seed=0, last_top1=62.0)]
    >>> summarize(runs, dict(KD='CE'))[1].differences['last_top1'].mean
    2.0
    """
    by_row: dict[str, dict[int, Mapping]] = {}
    for result in results:
        of_row = by_row.setdefault(result['row'], {})
        if result['seed'] in of_row:
            raise InputError(f"there are two results of the row '{result['row']}' with the seed {result['seed']}.")
        of_row[result['seed']] = result
    summaries = []
    for row, runs in by_row.items():
        values, differences = {}, {}
        for name in _NUMBERS:
            numbers = _numbers(runs, name)
            if numbers:
                values[name] = mean_and_deviation(list(numbers.values()))
            other = (reference or {}).get(row)
            if name.endswith('_top1') and other is not None:
                difference = paired_difference(numbers, _numbers(by_row.get(other, {}), name))
                if difference is not None:
                    differences[name] = difference
        summaries.append(Summary(row, len(runs), values, differences))
    return summaries


def format_table(
    results: Sequence[Mapping], form: str = 'text', reference: Mapping[str, str] | None = None, width: int = 200
) -> str:
    """A table of results.

    Args:
        results: As in :func:`summarize`.
        form: One of :data:`FORMATS`. JSON has the results themselves, each run with its accuracy of every class.
        reference: As in :func:`summarize`.
        width: Of the text, in characters.

    Raises:
        UnknownNameError: No such form.
        InputError: There is no result.
    """
    if form not in FORMATS:
        raise UnknownNameError(f"there is no table as '{form}' ({nearest_names(form, FORMATS)}).")
    if not results:
        raise InputError('there is no finished run to make a table of.')
    return FORMATS[form](results, reference or {}, width)


def _numbers(runs: Mapping[int, Mapping], name: str) -> dict[int, float]:
    return {seed: run[name] for seed, run in runs.items() if run.get(name) is not None}


class _Column(NamedTuple):
    title: str
    name: str
    digits: int
    factor: float = 1.0


def _columns(reference: Mapping[str, str]) -> list[_Column]:
    columns = [_Column('top-1 % last', 'last_top1', 2), _Column('top-1 % best', 'best_top1', 2)]
    if reference:
        name = _only(reference) or 'reference'
        columns += [
            _Column(f'last - {name}', 'difference_last_top1', 2),
            _Column(f'best - {name}', 'difference_best_top1', 2),
        ]
    return [
        *columns,
        _Column('top-5 %', 'last_top5', 2),
        _Column('ECE %', 'last_ece', 1, 100.0),
        _Column('NLL', 'last_nll', 3),
        _Column('agrees %', 'last_agreement', 1),
        _Column('KL', 'last_kl', 3),
        _Column('loss first', 'loss_first', 3),
        _Column('loss last', 'loss_last', 3),
        _Column('s', 'seconds', 0),
        _Column('images/s', 'images_per_second', 0),
        _Column('parameters', 'parameters', 0),
        _Column('MFLOPs', 'flops', 1, 1e-6),
    ]


def _only(reference: Mapping[str, str]) -> str | None:
    """The one row that all others are held against, None where there are several."""
    names = set(reference.values())
    return names.pop() if len(names) == 1 else None


def _cells(summary: Summary, reference: Mapping[str, str]) -> list[str]:
    cells = [summary.row, str(summary.seeds)]
    for column in _columns(reference):
        if column.name.startswith('difference_'):
            several = summary.differences and _only(reference) is None
            cells.append(_difference(summary, column) + (f' [{reference[summary.row]}]' if several else ''))
        elif column.name not in summary.values:
            cells.append('-')
        else:
            mean, deviation = (
                None if value is None else value * column.factor for value in summary.values[column.name]
            )
            constant = column.name in COSTS
            margin = '' if constant or deviation is None else f' ± {deviation:.{column.digits}f}'
            cells.append(f'{mean:,.{column.digits}f}{margin}')
    return cells


def _difference(summary: Summary, column: _Column) -> str:
    difference = summary.differences.get(column.name.removeprefix('difference_'))
    if difference is None:
        return '-'
    margin = '' if difference.margin is None else f' ± {difference.margin:.{column.digits}f}'
    fewer = f' ({difference.seeds} seeds)' if difference.seeds < summary.seeds else ''
    return f'{difference.mean:+.{column.digits}f}{margin}{fewer}'


def _notes(results: Sequence[Mapping], reference: Mapping[str, str]) -> list[str]:
    """What a reader must know of the columns."""
    on_test = {bool(run['best_on_test']) for run in results if run.get('best_on_test') is not None}
    chosen = {frozenset([True]): 'chosen on the test set itself', frozenset([False]): 'chosen on the validation set'}
    notes = [
        'mean ± standard deviation over the seeds; of the last epoch where a column does not say best',
        f'best: the epoch of the highest validation accuracy, {chosen.get(frozenset(on_test), "as its config says")}',
        'loss first, last: the whole training loss, in the first and in the last entry of the logs',
        'agrees, KL: with the teacher, on the test set; s, images/s: of the training, whatever else the machine did',
    ]
    if reference:
        name = _only(reference) or 'reference, the row in brackets'
        notes.append(f"- {name}: mean difference at equal seeds ± half of its 95 % interval (Student's t)")
    return notes


def _text(results: Sequence[Mapping], reference: Mapping[str, str], width: int) -> str:
    table = Table(title_justify='left')
    table.add_column('', no_wrap=True)
    for title in ('seeds', *(column.title for column in _columns(reference))):
        table.add_column(title, justify='right')
    for summary in summarize(results, reference):
        table.add_row(*_cells(summary, reference))
    file = io.StringIO()
    console = Console(file=file, width=width, markup=False, emoji=False)  # a row may be called [strong]
    console.print(table)
    return file.getvalue() + '\n'.join(_notes(results, reference))


def _markdown(results: Sequence[Mapping], reference: Mapping[str, str], width: int) -> str:
    titles = ['', 'seeds', *(column.title for column in _columns(reference))]
    rows = [titles, ['---'] * len(titles)]
    rows += [_cells(summary, reference) for summary in summarize(results, reference)]
    lines = [f'| {" | ".join(cell.replace("|", "¦") for cell in row)} |' for row in rows]
    return '\n'.join([*lines, '', *(f'- {note}' for note in _notes(results, reference))])


def _latex(results: Sequence[Mapping], reference: Mapping[str, str], width: int) -> str:
    columns = _columns(reference)
    rows = [['', 'seeds', *(column.title for column in columns)]]
    rows += [_cells(summary, reference) for summary in summarize(results, reference)]
    head, *body = (' & '.join(cell.translate(_ESCAPES) for cell in row) + r' \\' for row in rows)
    return '\n'.join(
        [
            *(f'% {note}' for note in _notes(results, reference)),
            rf'\begin{{tabular}}{{lr{"r" * len(columns)}}}',
            r'\hline',
            head,
            r'\hline',
            *body,
            r'\hline',
            r'\end{tabular}',
        ]
    )


_ESCAPES = str.maketrans(
    {character: f'\\{character}' for character in '{}%&#_$'}
    | {'\\': r'\textbackslash{}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '±': r'$\pm$'}
)


def _csv(results: Sequence[Mapping], reference: Mapping[str, str], width: int) -> str:
    """Every number in its own column and unit, the best epoch's too."""
    titles = ['row', 'seeds', *(f'{name}_{part}' for name in _NUMBERS for part in ('mean', 'std'))]
    differences = [f'{kind}_top1' for kind in KINDS]
    titles += ['reference', *(f'{name}_difference{part}' for name in differences for part in ('', '_margin', '_seeds'))]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(titles)
    for summary in summarize(results, reference):
        numbers = [number for name in _NUMBERS for number in summary.values.get(name, (None, None))]
        paired = [number for name in differences for number in summary.differences.get(name, (None, None, None))]
        writer.writerow([summary.row, summary.seeds, *numbers, reference.get(summary.row), *paired])
    return file.getvalue().rstrip('\n')


def _json(results: Sequence[Mapping], reference: Mapping[str, str], width: int) -> str:
    return json.dumps(list(results), indent=1)


FORMATS: dict[str, Callable[[Sequence[Mapping], Mapping[str, str], int], str]] = dict(
    text=_text, markdown=_markdown, csv=_csv, json=_json, latex=_latex
)
"""The forms of a table."""
