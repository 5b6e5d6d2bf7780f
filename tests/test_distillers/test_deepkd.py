"""DeepKD: reference numbers of each term, the formula in loops, the mask's schedule, what refuses it, its training."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from crld_zoo.distillers import CRLD, DKD, KD, DeepKD, Prediction, Sum, non_target_loss
from crld_zoo.errors import InputError

from ..test_engine import tiny_run
from ..test_engine.test_distiller_state import with_distiller
from .testers import begin, check_oracle, check_warmup, close, golden, kl, leaf, random_batch, softmax

ALTERNATIVES = dict(topk=2)


def of_row(params: dict) -> DeepKD:
    """The distiller in the words of the published code."""
    form = dict(alpha=params['alpha'], beta=params['beta'], warmup=params['warmup_factor'])
    if not params['DKD']:
        form = dict(alpha=1.0, beta=1.0, warmup=0, rest_weight='batch')
    names = ('temperature', 'topk', 'logit_stand')
    return begin(DeepKD(**form, **{name: params[name] for name in names}, ce_weight=0.0), params['epoch'])


@pytest.mark.parametrize('row', golden('deepkd_plugin'))
def test_reference_numbers(row):
    distiller = of_row(row['params'])
    teacher = {'weak': Prediction(torch.tensor(row['logits_teacher'], dtype=torch.float64))}
    for name, theirs in dict(loss_target='tckd', loss_non_target='nckd').items():
        student = leaf(row['logits_student'])
        losses = distiller({'weak': Prediction(student)}, teacher, torch.tensor(row['target']))
        losses[name].backward()
        close(losses[name], row[f'loss_{theirs}'])
        close(student.grad, row[f'grad_{theirs}'])


def of_rest(student, teacher, target, temperature, topk):
    highest = sorted(range(len(teacher)), key=lambda k: -teacher[k])[: topk or None]
    classes = [k for k in highest if k != target]
    if not classes:
        return 0.0
    return temperature**2 * kl(*(softmax([row[k] for k in classes], temperature) for row in (teacher, student)))


@pytest.mark.parametrize('topk', [0, 1, 2, 5, 100])
def test_formula_in_loops(topk):
    check_oracle(non_target_loss, of_rest, temperature=3.0, topk=topk)


def test_one_momentum_for_all_is_dkd():
    """The sum of the terms is DKD's loss, and in the form of KD it is KD's."""
    student, teacher, target = random_batch(6, 5)
    one, other = (begin(each(beta=2.0), 7).pair(student['weak'], teacher['weak'], target) for each in (DeepKD, DKD))
    close(one, other)
    parts = DeepKD(beta=1.0, warmup=0, rest_weight='sample').pair(student['weak'], teacher['weak'], target)
    close(parts, KD().pair(student['weak'], teacher['weak'], target))


def test_each_loss_is_weighted_and_has_its_group():
    student, teacher, target = random_batch(6, 5)
    (base, other) = (
        begin(DeepKD(**options), 240)(student, teacher, target)
        for options in ({}, dict(alpha=2.0, beta=24.0, ce_weight=5.0, kd_weight=7.0))
    )
    for name, factor in dict(loss_ce=5.0, loss_target=14.0, loss_non_target=21.0).items():
        close(other[name], factor * base[name])
    assert DeepKD.groups == dict(loss_ce='task', loss_target='target', loss_non_target='non_target')


def test_more_classes_as_training_goes_on():
    student, teacher, target = random_batch(6, 50)
    distiller = DeepKD(topk=(5, 45), warmup=0)
    with pytest.raises(InputError, match=r'DeepKD has a schedule of topk and was never told the epoch'):
        distiller(student, teacher, target)
    for epoch, topk in ((1, 5), (2, 6), (6, 10), (41, 45)):
        assert begin(distiller, epoch, epochs=41).topk == topk
        close(
            distiller(student, teacher, target)['loss_non_target'],
            DeepKD(topk=topk, warmup=0)(student, teacher, target)['loss_non_target'],
        )


def test_warmup():
    check_warmup(lambda epochs: DeepKD(warmup=epochs))


@pytest.mark.parametrize('topk', [-1, (5,), (0, 5), (5, 0), (5, 2.5), (1, 2, 3)], ids=str)
def test_impossible_topk(topk):
    with pytest.raises(InputError, match='DeepKD: topk must be a number of classes, 0 for all, or'):
        DeepKD(topk=topk)


def test_one_output_is_no_classifier():
    one = {'weak': Prediction(torch.zeros(3, 1))}
    with pytest.raises(InputError, match='compares probabilities of classes, but the student has one output'):
        begin(DeepKD(), 1)(one, one, torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize('decorate', [CRLD, lambda held: Sum([held])], ids=['CRLD', 'Sum'])
def test_nobody_can_hold_it(decorate):
    with pytest.raises(InputError, match='cannot decorate DeepKD: its losses have gradients of their own'):
        decorate(DeepKD())


@pytest.fixture
def tiny(monkeypatch):
    """Trains two epochs of five batches."""
    base = tiny_run.config

    def config(folder, **changes) -> Config:
        cfg = with_distiller(base(folder), dict(type='DeepKD', warmup=3, topk=(1, 3)))
        cfg.merge_from_dict(changes)
        return cfg

    monkeypatch.setattr(tiny_run, 'config', config)
    return tiny_run


GROUPED = {
    'optim_wrapper.type': 'GroupedOptimWrapper',
    'optim_wrapper.momenta': dict(task=0.8, non_target=0.95, target=0.7),
}


@pytest.mark.parametrize('kill_after', [5, 7], ids=['between epochs', 'within an epoch'])
def test_a_resumed_run_goes_on_with_its_momenta(tmp_path, tiny, kill_after):
    options = GROUPED | {'default_hooks.checkpoint.snapshot_interval': 1}
    tiny.train(tmp_path / 'whole', **options)
    tiny.train(tmp_path / 'stopped', kill_after, **options)
    tiny.resume(tmp_path / 'stopped', **options)
    whole, resumed = (torch.load(tmp_path / run / 'epoch_2.pth') for run in ('whole', 'stopped'))
    assert len(next(iter(whole['optimizer']['state'].values()))) == 3
    assert tiny.differences(whole, resumed) == []


def test_a_wrapper_of_one_gradient_is_refused(tmp_path, tiny):
    with pytest.raises(InputError, match=r'DeepKD has a gradient of its own for each group of losses: set optim_w'):
        tiny.train(tmp_path)


def test_momenta_of_other_groups_are_refused(tmp_path, tiny):
    with pytest.raises(InputError, match='DeepKD has the groups non_target, target, task, but optim_wrapper.momenta'):
        tiny.train(tmp_path, **GROUPED | {'optim_wrapper.momenta': dict(task=0.9, kd=0.9)})
