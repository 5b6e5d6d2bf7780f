"""SDD: reference numbers, the formula in loops, a number by hand, regions of the map, what it can hold."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch

from crld_zoo.distillers import (
    CTKD,
    KD,
    SDD,
    LogitStandardization,
    NormKD,
    Prediction,
    dkd_loss,
    kd_loss,
    sdd_loss,
)
from crld_zoo.errors import InputError
from crld_zoo.models import Distillation
from crld_zoo.registry import DISTILLERS

from .map_testers import random_maps, rows, step
from .testers import close, leaf, prepared

REQUIRED = dict(scales=(1, 2))  # the last maps of the tests' networks have 2x2 positions
ALTERNATIVES = dict(scales=(1,))


def of_kd(rows_s, rows_t, target, **options):
    return kd_loss(rows_s, rows_t, **options)


def of_public_nkd(rows_s, rows_t, target, *, gamma, temperature):
    """The public code's NKD: its mask leaves the target in, so that the non-target term has all classes."""
    (p_t, log_p_s), (soft_t, log_soft_s) = (
        ((rows_t / each).softmax(1), (rows_s / each).log_softmax(1)) for each in (1, temperature)
    )
    at_target = (p_t * log_p_s)[torch.arange(len(target)), target]
    return -at_target - gamma * temperature**2 * (soft_t * log_soft_s).sum(1)


LOSSES = dict(kd=of_kd, dkd=dkd_loss, nkd=of_public_nkd)


@pytest.mark.parametrize('row', rows('sdd'))
def test_reference_numbers(row):
    options = {name: value for name, value in row['params'].items() if name != 'M'}
    pair_loss = partial(LOSSES[row['method'].removeprefix('sdd_')], **options)
    student = leaf(row['student_regions'])
    teacher, target = torch.tensor(row['teacher_regions'], dtype=torch.float64), torch.tensor(row['target'])
    loss = sdd_loss(student, teacher, target, pair_loss=pair_loss, complementary_weight=2.0).mean()
    loss.backward()
    close(loss, row['loss'])
    close(student.grad, row['grad_student_regions'])
    right = teacher.argmax(1) == target[:, None]
    assert (right != right[:, :1]).sum() == row['complementary_regions']


HELD = dict(
    kd=lambda temperature: dict(type='KD', temperature=temperature, kd_weight=1.0),
    dkd=lambda **options: dict(type='DKD', warmup=0, **options),
    nkd=lambda gamma, temperature: dict(
        type='Sum',
        distillers=[dict(type='NKD', gamma=0.0), dict(type='KD', temperature=temperature, kd_weight=gamma)],
    ),
)


@pytest.mark.parametrize('row', rows('sdd'))
def test_reference_gradients_of_the_distiller(row, monkeypatch):
    """Of the regions as the decorator hands them on; the public NKD's is that of NKD's target term and KD."""
    options = {name: value for name, value in row['params'].items() if name != 'M'}
    distiller = SDD(HELD[row['method'].removeprefix('sdd_')](**options), scales=json.loads(row['params']['M']))
    monkeypatch.setattr(distiller, 'regions', lambda prediction: prediction.features['regions'])
    student, teacher = leaf(row['student_regions']), torch.tensor(row['teacher_regions'], dtype=torch.float64)
    views = (Prediction(regions[..., 0], dict(regions=regions)) for regions in (student, teacher))
    distiller.pair(*views, torch.tensor(row['target'])).mean().backward()
    close(student.grad, row['grad_student_regions'])


def test_formula_in_loops():
    (student, teacher), target = random_maps((4, 3, 5), (4, 3, 5)), [0, 2, 1, 1]
    expected = []
    for i, y in enumerate(target):
        whole = max(range(3), key=teacher[i, :, 0].tolist().__getitem__) == y
        total = 0.0
        for r in range(5):
            right = max(range(3), key=teacher[i, :, r].tolist().__getitem__) == y
            loss = float(kd_loss(student[i, :, r][None], teacher[i, :, r][None], temperature=3.0))
            total += loss if right == whole else 1.5 * loss
        expected.append(total / 5)
    pair_loss = partial(of_kd, temperature=3.0)
    found = sdd_loss(student, teacher, torch.tensor(target), pair_loss=pair_loss, complementary_weight=1.5)
    close(found, expected, rtol=1e-10)


def test_number_by_hand():
    # Right about the whole and wrong about one of two regions: (1 + 2 * 1 + 1) / 3.
    teacher = torch.tensor([[[5.0, 0, 5], [0, 5, 0]]])
    loss = sdd_loss(
        teacher,
        teacher,
        torch.tensor([0]),
        pair_loss=lambda s, t, y: torch.ones(len(s)),
        complementary_weight=2.0,
    )
    close(loss, [4 / 3])


def test_regions_are_means_of_the_map():
    maps = torch.arange(32.0).view(1, 2, 4, 4)
    regions = SDD(KD()).regions(Prediction(maps.mean((2, 3)), {'class_maps': maps}))
    assert regions.shape == (1, 2, 1 + 4 + 16)
    close(regions[..., 0], maps.mean((2, 3)))
    close(regions[0, 0, 1:5], [2.5, 4.5, 10.5, 12.5])
    close(regions[..., 5:], maps.flatten(2))


def test_the_whole_alone_is_the_held_loss():
    distiller, batch = prepared(SDD(KD(), scales=[1]), 6, 5)
    student, teacher, target = batch.predictions()
    found = distiller.pair(student['weak'], teacher['weak'], target)
    close(found, KD().pair(student['weak'], teacher['weak'], target), rtol=1e-12)


def test_both_networks_of_the_zoo():
    model, losses = step(
        dict(type='SDD', distiller=dict(type='DKD', warmup=0)), 'crld_zoo::resnet8', 'crld_zoo::resnet20'
    )
    assert isinstance(model, Distillation)
    assert losses['loss_kd'] > 0


@pytest.mark.parametrize('decorator', [LogitStandardization, NormKD, CTKD, SDD])
def test_decorators_of_logits_do_not_take_it(decorator):
    with pytest.raises(InputError, match='it compares no logits'):
        decorator(SDD(KD()))


@pytest.mark.parametrize(
    ('held', 'why'),
    [
        (dict(type='FitNet'), 'it compares no logits'),
        (dict(type='DIST'), 'which compares the samples of a batch'),
        (dict(type='CrossEntropy'), 'it learns from no teacher'),
        (dict(type='CRLD', distiller=dict(type='KD')), 'must be the outermost'),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else '',
)
def test_what_it_cannot_hold_is_refused(held, why):
    with pytest.raises(InputError, match=why):
        SDD(held)


@pytest.mark.parametrize(
    'held', [dict(type='NormKD'), dict(type='CTKD', distiller=dict(type='KD')), dict(type='NKD')], ids=str
)
def test_decorators_of_logits_within(held):
    distiller, batch = prepared(SDD(held, scales=[1, 2]), 6, 5)
    student, teacher, target = batch.predictions()
    regions_s, regions_t = (distiller.regions(p['weak']) for p in (student, teacher))
    expected = sdd_loss(
        regions_s,
        regions_t,
        target,
        pair_loss=lambda s, t, y: distiller.distiller.pair(Prediction(s), Prediction(t), y),
        complementary_weight=2.0,
    )
    close(distiller.pair(student['weak'], teacher['weak'], target), expected)


def test_scales_that_do_not_begin_with_the_whole_are_refused():
    with pytest.raises(InputError, match='scales begins with 1'):
        SDD(KD(), scales=[2, 4])


def test_a_map_that_is_too_small_is_refused():
    config = dict(type='SDD', distiller=dict(type='KD'), scales=[1, 32])
    with pytest.raises(InputError, match='the last map of the student has 16x16 positions'):
        step(config, 'crld_zoo::resnet8', 'crld_zoo::resnet20')


def test_predictions_without_class_maps_are_refused():
    prediction = Prediction(torch.zeros(2, 3))
    with pytest.raises(InputError, match="no 'class_maps' among its features"):
        SDD(KD()).pair(prediction, prediction, torch.tensor([0, 1]))


def test_mixed_labels_are_refused():
    prediction = Prediction(torch.zeros(2, 3), {'class_maps': torch.zeros(2, 3, 4, 4)})
    with pytest.raises(InputError, match='remove Mixup, CutMix'):
        SDD(KD()).pair(prediction, prediction, torch.eye(3)[:2])


def test_defaults_are_the_published_ones():
    distiller = DISTILLERS.build(dict(type='SDD', distiller=dict(type='KD')))
    assert (distiller.scales, distiller.complementary_weight) == ((1, 2, 4), 2)
    assert (distiller.ce_weight, distiller.kd_weight) == (0.1, 0.9)
