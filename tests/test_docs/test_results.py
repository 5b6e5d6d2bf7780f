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


@pytest.mark.parametrize('name', sorted(path.stem for path in FOLDER.glob('*.json')))
def test_a_table_is_that_of_its_file(name):
    results = json.loads((FOLDER / f'{name}.json').read_text())
    first = results[0]['row']
    reference = {result['row']: first for result in results if result['row'] != first}
    full = [cells(line) for line in format_table(results, 'markdown', reference, 200).splitlines() if line[:1] == '|']
    page = (ROOT / 'docs' / 'results.md').read_text()
    (table,) = re.findall(rf'<!-- {name} -->\n(.*?)\n<!-- end -->', page, re.DOTALL)
    shown = [cells(line) for line in table.splitlines()]
    places = [full[0].index(title) for title in shown[0]]
    one_epoch = {result['epochs'] for result in results} == {1}
    needed = {'top-1 % last', 'loss first', 'loss last'} if one_epoch else {'top-1 % last', 'top-1 % best', 'seeds'}
    assert needed <= {*shown[0]}
    assert shown == [[line[place] for place in places] for line in full], 'a row is missing, or a number is another'


@pytest.mark.parametrize('name', sorted(path.stem for path in COSTS.glob('*_methods_*.json')))
def test_a_table_of_costs_is_that_of_its_file(name):
    record = json.loads((COSTS / f'{name}.json').read_text())
    console = Console(width=200)
    with console.capture() as capture:
        console.print(rows_table(record['rows'], record['against'], 'markdown'))
    page = (ROOT / 'docs' / 'performance_method.md').read_text()
    (table,) = re.findall(rf'<!-- {name} -->\n(.*?)\n<!-- end -->', page, re.DOTALL)
    made = [cells(line.strip()) for line in capture.get().splitlines() if line.strip()[:1] == '|']
    shown = [cells(line) for line in table.splitlines()]
    assert shown[:1] + shown[2:] == made[:1] + made[2:], 'a row is missing, or a number is another'
