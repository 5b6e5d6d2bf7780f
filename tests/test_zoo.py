"""Every method of the zoo comes with its file, its recipe, its tests and its row in the README."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from crld_zoo.launch.catalog import KINDS, catalog
from crld_zoo.registry import DISTILLERS

DISTILLERS.import_from_location()
METHODS = {
    name: method
    for name, method in DISTILLERS.module_dict.items()
    if method.__module__.startswith('crld_zoo.distillers.')
}


def lines_of_code(path: Path) -> int:
    """How many statements: neither docstrings and imports, nor how a formatter wraps a signature."""
    statements = (
        node
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Import | ast.ImportFrom)
    )
    return sum(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in statements)


@pytest.mark.parametrize('name', sorted(METHODS))
def test_a_method_has_its_four_parts(root, name):
    file = Path(inspect.getfile(METHODS[name]))
    assert lines_of_code(file) < 80
    assert (root / 'tests' / 'test_distillers' / f'test_{file.stem}.py').is_file()
    assert list((root / 'configs' / file.stem).glob('*.py'))
    rows = [
        line
        for line in (root / 'README.md').read_text(encoding='utf-8').splitlines()
        if re.match(rf'\| `{name}` \|', line)
    ]
    assert len(rows) == 1


@pytest.mark.parametrize('kind', KINDS)
def test_everything_is_listed_with_a_line(root, kind):
    listed = catalog(kind, root / 'configs')
    assert listed
    assert all(listed.values()), [name for name, line in listed.items() if not line]


def test_readme_names_only_files_that_exist(root):
    readme = (root / 'README.md').read_text(encoding='utf-8')
    for path in set(re.findall(r'(?:configs|tools|docs|crld_zoo|tests)/[\w+./-]+\.(?:py|sh|md)', readme)):
        assert (root / path).is_file(), path


def test_readme_names_only_targets_that_exist(root):
    readme, makefile = ((root / name).read_text(encoding='utf-8') for name in ('README.md', 'Makefile'))
    for target in set(re.findall(r'make ([a-z-]+) ', readme)):
        assert re.search(rf'^{target}:', makefile, re.MULTILINE), target
