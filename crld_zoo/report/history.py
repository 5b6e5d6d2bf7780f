"""What a run wrote down of itself: its curves, its configuration, its environment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crld_zoo.errors import InputError

SCALARS = 'vis_data/scalars.json'
"""Where MMEngine's ``LocalVisBackend`` writes, in the folder of each start of a run."""

TEACHER_NAME = 'teacher'
"""What figures and tables call the network that teaches; no row has this name."""

_NO_TERMS = (
    'lr',
    'momentum',
    'time',
    'data_time',
    'images_per_second',
    'data_share',
    'memory',
    'epoch',
    'iter',
    'step',
)

Curve = tuple[np.ndarray, np.ndarray]


class History(NamedTuple):
    """The curves of a run.

    Attributes:
        unit: What is counted: ``'epoch'`` or ``'iteration'``.
        train: By name, the step and the mean of what was logged in it: losses and the distiller's statistics.
        test: By name, the step and the metric, as the run measured it on its validation set.
    """

    unit: str
    train: dict[str, Curve]
    test: dict[str, Curve]


def read_history(run: str | Path, unit: str = 'epoch') -> History:
    """The curves that MMEngine's local backend wrote into a work directory.

    A run that was stopped and resumed has a file for each start; what a later one repeats counts once.

    Args:
        run: The work directory.
        unit: ``'epoch'`` or ``'iteration'``, which the run counts by.

    Raises:
        InputError: A line is damaged.
    """
    starts = [_rows(path) for path in sorted(Path(run).glob(f'*/{SCALARS}'))]
    trained = _joined([[row for row in rows if 'loss' in row] for rows in starts])
    tested = _joined([[row for row in rows if 'loss' not in row and 'lr' not in row] for rows in starts])
    at = 'epoch' if unit == 'epoch' and all('epoch' in row for row in trained) else 'step'
    terms = dict.fromkeys(name for row in trained for name in row if name not in _NO_TERMS and '/' not in name)
    metrics = dict.fromkeys(name for row in tested for name in row if '/' in name)
    return History(
        unit,
        {name: _curve(trained, at, name) for name in terms},
        {name: _curve(tested, 'step', name) for name in metrics},
    )


def _rows(path: Path) -> list[dict]:
    rows = []
    lines = path.read_text(encoding='utf-8').splitlines()
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number == len(lines):  # a kill cut it off
                break
            raise InputError(f'line {number} of {path} is damaged ({error}): delete it.') from error
    return rows


def _joined(starts: Iterable[Sequence[Mapping]]) -> list[Mapping]:
    """The rows of all starts; of what a later start repeats, the later."""
    joined: list[Mapping] = []
    for rows in starts:
        if rows:
            first = rows[0]['step']
            joined = [row for row in joined if row['step'] < first] + list(rows)
    return joined


def _curve(rows: Sequence[Mapping], at: str, name: str) -> Curve:
    values: dict[float, list[float]] = {}
    for row in rows:
        if isinstance(row.get(name), int | float):
            values.setdefault(row[at], []).append(row[name])
    steps = sorted(values)
    return np.array(steps, dtype=float), np.array([np.mean(values[step]) for step in steps])


class Band(NamedTuple):
    """A curve over several seeds.

    Attributes:
        steps: ``(n,)``, every step that some seed has.
        mean: Over the seeds that have it, ``(n,)``.
        deviation: Their standard deviation (over n - 1), ``(n,)``; 0 where one seed has it.
    """

    steps: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


def band(curves: Sequence[Curve]) -> Band:
    """Mean and standard deviation of curves over their seeds, step by step.

    >>> one, other = (np.array([1, 2]), np.array([3.0, 5.0])), (np.array([1]), np.array([5.0]))
    >>> [part.round(3).tolist() for part in band([one, other])]
    [[1, 2], [4.0, 5.0], [1.414, 0.0]]
    """
    steps = np.unique(np.concatenate([steps for steps, _ in curves]))
    table = np.full((len(curves), len(steps)), np.nan)
    for row, (own, values) in zip(table, curves, strict=True):
        row[np.searchsorted(steps, own)] = values
    there = ~np.isnan(table)
    count = there.sum(0)
    mean = np.where(there, table, 0).sum(0) / np.maximum(count, 1)
    squares = np.where(there, (table - mean) ** 2, 0).sum(0)
    deviation = np.sqrt(squares / np.maximum(count - 1, 1))
    mean[count == 0] = np.nan
    return Band(steps, mean, deviation)


def environment(run: str | Path) -> str:
    """The system and runtime environment of the last start of a run, as MMEngine logged it; '' where there is none."""
    logs = sorted(Path(run).glob('*/*.log'))
    text = logs[-1].read_text(encoding='utf-8', errors='replace') if logs else ''
    start = text.find('System environment:')
    if start < 0:
        return ''
    end = text.find('\n---', text.find('Runtime environment:', start))
    lines = text[start : end if end > 0 else start + 5000].splitlines()
    return '\n'.join(line.rstrip() for line in lines if line.strip('- '))
