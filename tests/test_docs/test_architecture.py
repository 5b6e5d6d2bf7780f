"""The table of rooms in docs/architecture.md against the package: its folders, and every import in them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from .pages import ROOT

PACKAGE = 'crld_zoo'


class Room(NamedTuple):
    """A row of the table."""

    name: str
    imports: set[str]
    never: set[str]


def table() -> dict[str, Room]:
    """The rooms in the order of the page; the package's own modules are '*.py'."""
    page = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in page.splitlines() if line.startswith('| `')]
    rooms = [
        Room(name.strip('`').removeprefix(f'{PACKAGE}/'), *(set(re.findall(r'`([\w.]+)`', cell)) for cell in cells))
        for name, _, *cells in rows
    ]
    return {room.name: room for room in rooms}


def imported(file: Path) -> set[str]:
    """The dotted names that a file imports, the relative ones and those inside of functions too."""
    package = [PACKAGE, *file.relative_to(ROOT / PACKAGE).parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            names |= {'.'.join([*start, *filter(None, [node.module]), alias.name]) for alias in node.names}
    return names


def files(room: str) -> list[Path]:
    folder = ROOT / PACKAGE
    return sorted(folder.glob(room) if '*' in room else (folder / room).rglob('*.py'))


ROOMS = table()
FOLDERS = {path.parent.name for path in (ROOT / PACKAGE).glob('*/__init__.py')}


def test_every_folder_has_its_row():
    assert set(ROOMS) - {'*.py'} == FOLDERS
    assert [*ROOMS][0] == '*.py'


@pytest.mark.parametrize('name', ROOMS)
def test_a_room_imports_what_its_row_says_and_nothing_from_below(name):
    above = [*ROOMS][: [*ROOMS].index(name)]
    found = {
        module.split('.')[1]: file.name
        for file in files(name)
        for module in imported(file)
        if module.startswith(f'{PACKAGE}.') and module.split('.')[1] in FOLDERS - {name}
    }
    assert files(name)
    assert ROOMS[name].imports <= set(above), 'a row names a room that is not above it'
    assert {room: file for room, file in found.items() if room not in ROOMS[name].imports} == {}
    assert ROOMS[name].imports <= set(found), 'a row names a room that is not imported'


@pytest.mark.parametrize('name', ROOMS)
def test_a_room_never_knows_what_its_row_excludes(name):
    for word in ROOMS[name].never:
        outside = word.split('.')[0] not in FOLDERS
        excluded = word if outside else f'{PACKAGE}.{word}'
        for file in files(name):
            assert not [each for each in imported(file) if f'{each}.'.startswith(f'{excluded}.')], (file, excluded)


def test_imports_are_seen():
    """What the tests above rest on: relative and late imports."""
    assert 'crld_zoo.views.SampleKeys' in imported(ROOT / PACKAGE / 'distillers' / 'features' / 'crd.py')
    assert 'crld_zoo.distillers.base.PairDistiller' in imported(ROOT / PACKAGE / 'distillers' / 'logits' / 'kd.py')
    assert 'crld_zoo.networks.weights.locate' in imported(ROOT / PACKAGE / 'launch' / 'test.py')
