"""The table of methods; that the README says the same is the business of test_zoo.py."""

from __future__ import annotations

import json

import pytest
from mmengine.registry import DefaultScope

from crld_zoo.config_files import CONFIGS
from crld_zoo.distillers import PairDistiller
from crld_zoo.errors import InputError
from crld_zoo.launch import listing
from crld_zoo.launch.methods import Method, methods
from crld_zoo.registry import DISTILLERS


class OfPlugin(PairDistiller):
    """Squares of the class maps, as a package of one's own has them (CVPR 2031)."""

    taps = ('class_maps',)
    reads_logits = False

    def __init__(self) -> None:
        super().__init__(ce_weight=1.0, kd_weight=1.0)

    def pair_loss(self, student, teacher, target):
        return (student.features['class_maps'] - teacher.features['class_maps']).square().mean((1, 2, 3))


class WithoutDefault(PairDistiller):
    """One that needs to be told something."""

    def __init__(self, weight: float) -> None:
        super().__init__(ce_weight=1.0, kd_weight=weight)

    def pair_loss(self, student, teacher, target):
        return (student.logits - teacher.logits).square().mean(1)


RUNS = [
    dict(row='KD+CRLD', seed=0, last_top1=60.0, best_top1=62.0),
    dict(row='KD+CRLD', seed=1, last_top1=61.0, best_top1=62.5),
    dict(row='CE', seed=0, last_top1=50.0, best_top1=None),
    dict(row='DKD+CRLD', seed=0, last_top1=99.0, best_top1=99.0),
    dict(row='DKD', seed=0, last_top1=5.0, epochs=1),  # shows that it trains, not how well
]


@pytest.fixture(scope='module')
def table(tmp_path_factory) -> dict[str, Method]:
    folder = tmp_path_factory.mktemp('results')
    (folder / 'short.json').write_text(json.dumps(RUNS))
    DISTILLERS.import_from_location()
    with pytest.MonkeyPatch.context() as patch, DefaultScope.overwrite_default_scope('crld_zoo'):
        for plugin in (OfPlugin, WithoutDefault):
            patch.setitem(DISTILLERS.module_dict, plugin.__name__, plugin)
        return {row.name: row for row in methods(CONFIGS, folder)}


def test_every_distiller_has_a_row(table):
    assert table.keys() - {'OfPlugin', 'WithoutDefault'} == DISTILLERS.module_dict.keys()
    assert all(all(row) for row in table.values())


@pytest.mark.parametrize(
    'name, kind, views, taps, state',
    [
        ('KD', 'logits', 'weak', '-', '-'),
        ('MLLD', 'logits', 'weak, strong', '-', '-'),
        ('CRLD', 'decorator', 'weak, strong', '-', '-'),
        ('CTKD', 'decorator', 'weak', '-', 'trains theta'),
        ('AT', 'features', 'weak', 'stage1, stage2, stage3', '-'),
        ('VID', 'features', 'weak', 'stage1, stage2, stage3', 'trains projections, log_scales'),
        ('RRD', 'features', 'weak', 'embedding', 'trains projections; keeps queue, place'),
        ('SSKD', 'features', 'weak, rotated', 'embedding', 'trains head; keeps teacher_head'),
        ('SDD', 'decorator', 'weak', 'class_maps', '-'),
        ('OfPlugin', 'features', 'weak', 'class_maps', '-'),
    ],
)
def test_what_a_method_reads_and_keeps(table, name, kind, views, taps, state):
    assert table[name][1:5] == (kind, views, taps, state)


def test_taps_of_the_teacher_where_they_differ(table):
    assert table['ReviewKD'].taps.endswith('(teacher: stage1:pre, stage2:pre, stage3:pre, embedding)')


@pytest.mark.parametrize(
    'name, paper, cifar100, imagenet',
    [
        ('DKD', '2203.08679', '71.97, 76.32', '71.70'),
        ('CRLD', '2412.16493', '72.10, -', '-'),
        ('TfNKD', '2208.10139', '-', '70.76'),
        ('OfPlugin', 'CVPR 2031', '-', '-'),
    ],
)
def test_papers_and_published_numbers(table, name, paper, cifar100, imagenet):
    assert table[name][5:8] == (paper, cifar100, imagenet)


@pytest.mark.parametrize(
    'name, ours',
    [('CRLD', '60.50, 62.25 (short, 2 seeds)'), ('CrossEntropy', '50.00, - (short, 1 seed)'), ('DKD', '-')],
)
def test_numbers_of_this_code_are_means_over_seeds(table, name, ours):
    assert table[name].ours == ours


def test_a_plugin_that_cannot_be_built_says_why(table):
    assert "needs the option 'weight'" in table['WithoutDefault'].state


@pytest.mark.parametrize('text', ['{', '{"row": 1}', '[{"row": "KD"}]', '[1]', '3'])
def test_a_file_of_results_of_another_form_is_named(tmp_path, text):
    (tmp_path / 'old.json').write_text(text)
    with pytest.raises(InputError, match=r'old\.json is no list of runs'):
        methods(CONFIGS, tmp_path)


def test_the_command_prints_the_table(table, monkeypatch, capsys):
    monkeypatch.setattr(listing, 'methods', lambda configs, results: list(table.values()))
    listing.main(['methods'])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:5] == ['method', 'kind', 'views', 'taps', 'state']
    (row,) = (line.split() for line in lines if line.startswith('DKD '))
    assert row == ['DKD', 'logits', 'weak', '-', '-', '2203.08679', '71.97,', '76.32', '71.70', '-']
