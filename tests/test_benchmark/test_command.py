"""tools/benchmark.py as a user runs it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from crld_zoo.benchmark.command import main
from crld_zoo.launch import main_guard

from ..processes import run

TOOL = 'tools/benchmark.py'


def test_a_step_is_taken_apart(root, recipe, tmp_path):
    file = tmp_path / 'figures.json'
    output = run(
        root,
        TOOL,
        recipe,
        '--random-weights',
        '--synthetic',
        '--batch-size',
        8,
        4,
        '--repeats',
        1,
        '--seconds',
        0.1,
        '--threads',
        1,
        '--amp',
        '--json',
        file,
    )
    for word in (
        'whole loop',
        'teacher forward',
        'student forward',
        'distiller',
        'optimizer',
        'Pillow',
        'bf16',
        'peak memory',
    ):
        assert word in output
    record = json.loads(file.read_text())
    assert [row['batch_size'] for row in record['rows']] == [8, 4]
    for row in record['rows']:
        assert row['compare'] is None and list(row['step']) == ['bf16']
        assert row['step']['bf16']['batch_size'] == row['batch_size']
    assert record['options']['threads'] == 1
    assert record['machine']['torch']
    assert record['command'].startswith('python tools/benchmark.py')
    assert not list((root / 'work_dirs').glob('recipe*')), 'nothing is left in the repository'


@pytest.mark.slow
def test_a_comparison(recipe, tmp_path, forked_sides, capsys):
    file = tmp_path / 'figures.json'
    options = ['--random-weights', '--repeats', '1', '--seconds', '0.1', '--threads', '1', '--json', str(file)]
    main([str(recipe), '--compare', *options])
    output = capsys.readouterr().out
    assert 'against the reference protocol' in output and 'times its floor' in output
    (row,) = json.loads(file.read_text())['rows']
    speeds = row['compare']['speeds']
    for precision in ('fp32', 'bf16'):
        ratio = row['compare']['ratio'][precision]['median']
        assert ratio == pytest.approx(speeds[precision][0] / speeds['reference'][0])
        assert row['step'][precision]['times_the_floor'] > 0


def call(root: Path, monkeypatch, capsys, *arguments: str | Path) -> str:
    """The last line that the command says before it exits with 2, run in this process."""
    spec = importlib.util.spec_from_file_location('benchmark', root / 'tools' / 'benchmark.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(sys, 'argv', ['benchmark.py', *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main_guard(tool.main)()
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'take --random-weights'),
        (['--random-weights', '--json', 'no/such/folder/file.json'], 'there is no folder'),
        (['--random-weights', '--cfg-options', 'model.distiller.tau_w=7'], 'tau_w must be a number from 0 to 1'),
        (['--repeats', '0'], '0 is not above 0'),
        (['--seconds', 'nan'], 'nan is not above 0'),
        (['--processor-time', '--threads', '4'], 'leave --threads out'),
    ],
)
def test_bad_input_ends_in_a_sentence(root, recipe, monkeypatch, capsys, arguments, message):
    line = call(root, monkeypatch, capsys, recipe, *arguments)
    assert 'error: ' in line
    assert message in line


def test_a_missing_config(root, tmp_path, monkeypatch, capsys):
    assert 'there is no config' in call(root, monkeypatch, capsys, tmp_path / 'recipe.py')
