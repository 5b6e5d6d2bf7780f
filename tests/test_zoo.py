"""Every method of the zoo comes with its file, its recipe, its tests and its row in the README."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
from pathlib import Path

import pytest

from crld_zoo.config_files import read_config
from crld_zoo.launch.catalog import KINDS, catalog
from crld_zoo.launch.methods import published
from crld_zoo.registry import DISTILLERS

DISTILLERS.import_from_location()
METHODS = {
    name: method
    for name, method in DISTILLERS.module_dict.items()
    if method.__module__.startswith('crld_zoo.distillers.')
}


def lines_of_code(path: Path) -> int:
    """How many statements: no docstrings, imports or declared types, nor how a formatter wraps a signature."""
    statements = (
        node
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Import | ast.ImportFrom)
        if not (isinstance(node, ast.AnnAssign) and node.value is None)
    )
    return sum(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in statements)


def missing_parts(root: Path, name: str, stem: str) -> list[str]:
    """What a method lacks of its four files: each of them must be there and hold something."""
    readme = (root / 'README.md').read_text(encoding='utf-8')
    rows = [re.split(r' *\| *', line)[1:-1] for line in re.findall(rf'^\| `{name}` \|.*$', readme, re.MULTILINE)]
    files = dict(
        method=next((root / 'crld_zoo' / 'distillers').glob(f'*/{stem}.py'), None),
        tests=root / 'tests' / 'test_distillers' / f'test_{stem}.py',
    )
    recipes = [path for folder in {stem, name.lower()} for path in (root / 'configs' / folder).glob('*.py')]
    defined = {
        part: {
            node.name: ast.get_docstring(node)
            for node in ast.parse(path.read_text(encoding='utf-8')).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        for part, path in files.items()
        if path and path.is_file()
    }
    checks = {
        'a file with a documented class': defined.get('method', {}).get(name),
        'a recipe': any(f"'{name}'" in str(read_config(path).get('model')) for path in recipes),
        'tests': any(function.startswith('test_') for function in defined.get('tests', ())),
        'a full row in the table of methods': len(rows) == 1 and len(rows[0]) == 6 and all(rows[0]),
    }
    return [part for part, there in checks.items() if not there]


@pytest.mark.parametrize('name', sorted(METHODS))
def test_a_method_has_its_four_files(root, name):
    file = Path(inspect.getfile(METHODS[name]))
    assert not missing_parts(root, name, file.stem)
    assert lines_of_code(file) < 80


@pytest.mark.parametrize('left', [None, '', '"""A docstring alone."""\n'], ids=['removed', 'empty', 'docstring'])
@pytest.mark.parametrize(
    ('file', 'part'),
    [
        ('crld_zoo/distillers/logits/dkd.py', 'a file with a documented class'),
        ('configs/dkd/dkd_r56_r20_cifar100.py', 'a recipe'),
        ('tests/test_distillers/test_dkd.py', 'tests'),
        ('README.md', 'a full row in the table of methods'),
    ],
)
def test_a_part_that_is_missing_or_empty_is_noticed(root, tmp_path, file, part, left):
    files = ['crld_zoo/distillers/logits/dkd.py', 'tests/test_distillers/test_dkd.py', 'README.md']
    for each in [*files, 'configs/dkd/dkd_r56_r20_cifar100.py']:
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / each, tmp_path / each)
    shutil.copytree(root / 'configs' / '_base_', tmp_path / 'configs' / '_base_')
    assert not missing_parts(tmp_path, 'DKD', 'dkd')
    if file == 'README.md':
        left = {None: '', '': '| `DKD` | | | | | |\n'}.get(left, left)
    if left is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(left, encoding='utf-8')
    assert missing_parts(tmp_path, 'DKD', 'dkd') == [part]


@pytest.mark.parametrize('name', sorted(METHODS))
def test_the_table_of_the_readme_is_the_one_of_the_command(root, name):
    row = re.search(rf'^\| `{name}` \|.*$', (root / 'README.md').read_text(encoding='utf-8'), re.MULTILINE)[0]
    _, _, _, paper, _, cifar, imagenet, _ = (cell.strip() for cell in row.split('|'))
    paper = re.sub(r'\[(.*)\]\(https://arxiv.org/abs/\1\)', r'\1', paper)
    told = (paper, cifar.removesuffix(' (on KD)'), imagenet)
    assert told == published(name, METHODS[name], root / 'configs')


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
