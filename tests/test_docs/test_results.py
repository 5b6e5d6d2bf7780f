"""The tables of docs/results.md are what the files beside it hold."""

from __future__ import annotations

import json
import re

import pytest

from crld_zoo.report import format_table

from .pages import ROOT

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
    assert {'top-1 % last', 'top-1 % best', 'seeds'} <= {*shown[0]}
    assert shown == [[line[place] for place in places] for line in full], 'a row is missing, or a number is another'
