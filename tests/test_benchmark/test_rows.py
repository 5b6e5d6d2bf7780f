"""The rows of a compare file against one of them; the processes are tested in ``test_compare.py``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crld_zoo.benchmark import Options, command, rows
from crld_zoo.benchmark.command import main
from crld_zoo.benchmark.loop import Segment
from crld_zoo.benchmark.rows import Cost, time_rows
from crld_zoo.errors import InputError

SECONDS = dict(base=1.0, slow=2.0, fast=0.5, other=1.0)  # of a step at first; each step of any side slows the machine


@pytest.fixture
def sides(monkeypatch):
    """Sides without a process, and what they were told, in order."""
    told: list[tuple[str, str]] = []

    class Side:
        def __init__(self, name: str, options: Options, work_dir: Path) -> None:
            self.name = work_dir.name
            told.append(('start', self.name))

        def wait(self) -> None:
            if self.name == 'broken':
                raise InputError('it has no teacher.')

        def run(self, setting, steps: int) -> Segment:
            told.append(('run', self.name))
            return Segment(64 * steps, SECONDS[self.name] * steps * len(told))

        def memory(self) -> int:
            return 1000 + len(self.name)

        def close(self) -> None:
            told.append(('close', self.name))

    monkeypatch.setattr(rows, 'Side', Side)
    return told


def measure(*names: str, **options) -> dict[str, Cost]:
    given = dict(baseline='base', repeats=2, seconds=0.1, threads=1, together=2) | options
    return dict(time_rows({name: Options(Path(name)) for name in names}, **given))


def test_rows_are_measured_in_turn_with_the_baseline(sides):
    costs = measure('slow', 'base', 'fast', 'other')
    measured = [name for what, name in sides if what == 'run']
    ready = 2  # steps before anything counts
    first = ['base'] * ready + ['slow'] * ready + ['fast'] * ready + ['base', 'slow', 'fast'] * 2
    assert measured == first + ['other'] * ready + ['base', 'other'] * 2
    assert list(costs) == ['slow', 'fast', 'other', 'base']
    assert {name: len(cost.speeds) for name, cost in costs.items()} == dict(slow=2, fast=2, other=2, base=4)
    assert costs['base'].ratios == [1.0] * 4 and costs['other'].peak_memory == 1005
    for name in ('slow', 'fast', 'other'):  # of the baseline's measurement just before, though the machine slows down
        expected = SECONDS['base'] / SECONDS[name]
        assert all(0.75 * expected < ratio < expected for ratio in costs[name].ratios), name


def test_a_group_ends_before_the_next_one_starts(sides):
    measure('base', 'slow', 'fast', 'other')
    living: set[str] = set()
    for what, name in sides:
        if what == 'start':
            living.add(name)
        elif what == 'close':
            living.remove(name)
        assert len(living - {'base'}) <= 2
    assert not living and sides[-1] == ('close', 'base')


def test_what_cannot_be_measured_is_named(sides):
    with pytest.raises(InputError, match="the row 'broken': it has no teacher"):
        measure('base', 'broken')
    assert {name for what, name in sides if what == 'close'} == {'base', 'broken'}


@pytest.fixture
def compare_file(tmp_path) -> str:
    path = tmp_path / 'two.py'
    path.write_text(
        "share = dict(cfg_options={'model.student.model': 'crld_zoo::resnet8'})\n"
        "rows = dict(KD='crld_zoo::kd/kd_r56_r20_cifar100.py', DKD='crld_zoo::dkd/dkd_r56_r20_cifar100.py')\n"
    )
    return str(path)


def test_the_command_makes_a_table_and_a_file(compare_file, tmp_path, monkeypatch, capsys):
    def time_rows(rows, baseline, repeats, seconds, threads):
        assert [options.batch_size for options in rows.values()] == [8, 8]
        text = {name: options.config.read_text() for name, options in rows.items()}
        assert "type='DKD'" in text['DKD'] and 'resnet8' in text['DKD'], "the row's config with all its options"
        yield 'DKD', Cost([90.0, 110.0, 100.0], [0.9, 0.8, 0.7], 3 * 2**20)
        yield baseline, Cost([125.0] * 3, [1.0] * 3, 2 * 2**20)

    monkeypatch.setattr(command, 'time_rows', time_rows)
    file = tmp_path / 'costs.json'
    main([compare_file, '--against', 'KD', '--batch-size', '8', '--table', 'markdown', '--json', str(file)])
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    assert [line.split()[1] for line in table[2:]] == ['KD', 'DKD'], 'in the order of the file'
    assert [cell.strip() for cell in table[-1].split('|')[1:-1]] == ['DKD', '100', '0.80', '0.70 to 0.90', '3', '+1']
    record = json.loads(file.read_text())
    assert record['against'] == 'KD' and [row['row'] for row in record['rows']] == ['KD', 'DKD']
    assert record['rows'][1]['ratio'] == dict(median=0.8, low=0.7, high=0.9) and record['rows'][1]['speeds'][0] == 90
    assert record['rows'][1]['recipe'] == 'crld_zoo::dkd/dkd_r56_r20_cifar100.py'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--rows', 'KD'], 'take --against as well'),
        (['--against', 'KD', '--compare'], 'takes one compare file at one batch size'),
        (['--against', 'KD', '--batch-size', '8', '64'], 'takes one compare file at one batch size'),
        (['--against', 'KDD'], "--against: there is no row 'KDD' .*'?KD"),
        (['--against', 'KD', '--rows', 'KD'], "there is nothing to hold against 'KD'"),
    ],
)
def test_bad_input(compare_file, arguments, message):
    with pytest.raises(InputError, match=message):
        main([compare_file, *arguments])
