"""A training set without labels needs a teacher."""

from __future__ import annotations

import pytest

from crld_zoo.errors import InputError

from . import tiny_run
from .test_distiller_state import with_distiller


def runner(folder, monkeypatch, labels: int, **distiller):
    base = tiny_run.config

    def config(place, **changes):
        cfg = with_distiller(base(place, **changes), distiller)
        cfg.train_dataloader.dataset.update(labels_per_class=labels, others='unlabeled')
        cfg.train_cfg.max_epochs = 1
        cfg.custom_hooks.append(dict(type='DataCheckHook'))
        return cfg

    monkeypatch.setattr(tiny_run, 'config', config)
    return tiny_run.build(folder)


@pytest.mark.parametrize('name', ['CrossEntropy', 'TfNKD'])
def test_a_method_without_teacher_needs_a_label(tmp_path, monkeypatch, name):
    with pytest.raises(InputError, match=f'no image of train_dataloader has a label, and {name} has no teacher'):
        runner(tmp_path, monkeypatch, labels=0, type=name).train()
    runner(tmp_path, monkeypatch, labels=1, type=name).train()


@pytest.mark.parametrize(('weight', 'labels', 'told'), [(1.0, 0, True), (0.0, 0, False), (1.0, 1, False)])
def test_with_a_teacher_the_log_says_that_there_is_no_cross_entropy(tmp_path, monkeypatch, weight, labels, told):
    said = []
    monkeypatch.setattr('crld_zoo.engine.data_check.print_log', lambda text, **_: said.append(text))
    runner(tmp_path, monkeypatch, labels, type='KD', ce_weight=weight).train()
    assert [text for text in said if 'the cross-entropy of KD is 0' in text] == said and bool(said) == told
