"""The tables of measurements in the docs are what the files beside them hold."""

from __future__ import annotations

import json
import re

import pytest
from rich.console import Console

from crld_zoo.benchmark.report import rows_table
from crld_zoo.report import format_table

from .pages import ROOT

COSTS = ROOT / 'docs' / 'performance'
FOLDER = ROOT / 'docs' / 'results'


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip('|').split('|')]


def made(results: list) -> list[list[str]]:
    """The table of results, with every column."""
    first = results[0]['row']
    reference = {result['row']: first for result in results if result['row'] != first}
    return [cells(line) for line in format_table(results, 'markdown', reference, 200).splitlines() if line[:1] == '|']


def shown(page: str, name: str) -> list[list[str]]:
    """The table of this name on a page."""
    (table,) = re.findall(rf'<!-- {name} -->\n(.*?)\n<!-- end -->', (ROOT / page).read_text(), re.DOTALL)
    return [cells(line) for line in table.splitlines()]


@pytest.mark.parametrize('name', sorted(path.stem for path in FOLDER.glob('*.json')))
def test_a_table_is_that_of_its_file(name):
    results = json.loads((FOLDER / f'{name}.json').read_text())
    full, table = made(results), shown('docs/results.md', name)
    places = [full[0].index(title) for title in table[0]]
    one_epoch = {result['epochs'] for result in results} == {1}
    needed = {'top-1 % last', 'loss first', 'loss last'} if one_epoch else {'top-1 % last', 'top-1 % best', 'seeds'}
    assert needed <= {*table[0]}
    assert table == [[line[place] for place in places] for line in full], 'a row is missing, or a number is another'


def test_the_rows_of_the_readme_are_those_of_their_file():
    full = made(json.loads((FOLDER / 'short_cifar100.json').read_text()))
    table = shown('README.md', 'short_cifar100')
    places = [full[0].index(title) for title in table[0]]
    of_file = {line[0]: [line[place] for place in places] for line in full}
    assert len(table) > 2 and table == [of_file[line[0]] for line in table]


@pytest.mark.parametrize('name', sorted(path.stem for path in COSTS.glob('*_methods_*.json')))
def test_a_table_of_costs_is_that_of_its_file(name):
    record = json.loads((COSTS / f'{name}.json').read_text())
    console = Console(width=200)
    with console.capture() as capture:
        console.print(rows_table(record['rows'], record['against'], 'markdown'))
    full = [cells(line.strip()) for line in capture.get().splitlines() if line.strip()[:1] == '|']
    table = shown('docs/performance_method.md', name)
    assert table[:1] + table[2:] == full[:1] + full[2:], 'a row is missing, or a number is another'


def test_the_losses_beside_public_code_are_those_of_their_file():
    name = 'epyc-zen4-2cores_losses_r56_r20_64'
    full = [
        [
            method,
            *(f'{row[key]:.2f}' for key in ('ours', 'public', 'ratio')),
            '{smallest:.2f} to {largest:.2f}'.format(**row),
        ]
        for method, row in json.loads((COSTS / f'{name}.json').read_text()).items()
    ]
    assert [line[:5] for line in shown('docs/performance_method.md', name)[2:]] == full
