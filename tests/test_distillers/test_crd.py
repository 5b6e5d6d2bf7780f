"""CRD: reference numbers with what is remembered, the formula in loops, the negatives, bad input."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import CRD, TrainingData, crd_loss
from crld_zoo.distillers.features.crd import draw_negatives
from crld_zoo.errors import InputError

from .map_testers import check_gradients, maps_of, predictions, random_maps, rows, set_up
from .testers import SIZE, close, labels, losses, observe, prepared

ALTERNATIVES = dict(nce_k=8, feat_dim=16, eps=0.1, taps=['stage2'], teacher_taps=['stage2'])


@pytest.mark.parametrize('row', rows('crd'))
def test_reference_numbers(row, monkeypatch):
    """The loss and the gradients with given negatives, and the memories and ``Z`` after the step."""
    params, extra = row['params'], row['extra']
    samples, contrast = torch.tensor(extra['index']), torch.tensor(extra['contrast_index'])
    monkeypatch.setattr('crld_zoo.distillers.features.crd.draw_negatives', lambda *_: contrast[:, 1:])
    options = dict(nce_k=params['nce_k'], temperature=params['temperature'], momentum=params['momentum'])
    maps_s, maps_t = maps_of(row)
    distiller = CRD(**options, eps=params['eps'], feat_dim=params['feat_dim'], ce_weight=0.0, kd_weight=1.0)
    distiller.connect(TrainingData(params['n_data'], 2, torch.arange(params['n_data']) % 2))
    set_up(distiller, maps_s, maps_t)
    weights = {f'embed_{side}.linear.{kind}': getattr(distiller.projections[number], kind)
               for number, side in enumerate('st') for kind in ('weight', 'bias')}  # fmt: skip
    with torch.no_grad():
        for name, values in row['weights'].items():
            weights[name].copy_(torch.tensor(values, dtype=torch.float64))
        for side, name in (('s', 'memory_v1'), ('t', 'memory_v2')):
            getattr(distiller, f'memory_{side}').copy_(torch.tensor(extra[name], dtype=torch.float64))
        if extra['Z_v1'] > 0:
            distiller.steps += 1
            distiller.log_z.copy_(torch.tensor([extra['Z_v1'], extra['Z_v2']], dtype=torch.float64).log())

    def views(maps):
        return {'weak': predictions(maps, ('embedding',))['weak']._replace(samples=samples)}

    target = torch.zeros(len(samples), dtype=torch.int64)
    student, teacher = views(maps_s), views(maps_t)
    loss = distiller(student, teacher, target)['loss_kd']
    check_gradients(loss, row, maps_s, weights)
    with torch.no_grad():
        distiller.observe(student, teacher, target)
    outputs = row['outputs']
    close(distiller.log_z.exp(), [outputs['Z_v1'], outputs['Z_v2']])
    close(distiller.memory_s, outputs['memory_v1_after'])
    close(distiller.memory_t, outputs['memory_v2_after'])


def test_formula_in_loops():
    v_s, v_t, m_s, m_t = random_maps((2, 3), (2, 3), (5, 3), (5, 3))
    contrast, z = torch.tensor([[0, 3, 4], [1, 4, 2]]), (7.0, 0.5)
    c, eps, expected = 2 / 9, 1e-3, [0.0, 0.0]
    for i in range(2):
        for v, memory, normalizer in ((v_s, m_t, z[0]), (v_t, m_s, z[1])):
            for j, number in enumerate(contrast[i].tolist()):
                product = sum(a * b for a, b in zip(v[i].tolist(), memory[number].tolist(), strict=True))
                o = math.exp(product / 0.5) / normalizer
                expected[i] -= math.log((c if j else o) / (o + c + eps))
    options = dict(temperature=0.5, n_data=9, eps=eps, log_z=torch.tensor(z, dtype=torch.float64).log())
    close(crd_loss(v_s, v_t, m_s, m_t, contrast, **options), expected, rtol=1e-10)


def test_number_by_hand():
    # All products are 0 and Z is n_data, so o = 1/4; with c = 1/4 each of the four terms is log 2.
    zero, memory = torch.zeros(1, 3).double(), torch.ones(4, 3).double()
    loss = crd_loss(zero, zero, memory, memory, torch.tensor([[0, 1]]), temperature=1.0, n_data=4, eps=1e-15)
    close(loss, [4 * math.log(2)])


def test_finite_at_a_tiny_temperature():
    v = torch.eye(3).requires_grad_()
    contrast = torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    loss = crd_loss(v, v.detach(), -v, -v, contrast, temperature=1e-4, n_data=3, eps=1e-7)
    loss.mean().backward()
    assert loss.isfinite().all() and v.grad.isfinite().all()


def draw(samples, step: int, k: int, table=None):
    table = labels(5) if table is None else table
    by_class = (table >= 0).nonzero().squeeze(1)
    by_class = by_class[table[by_class].argsort(stable=True)]
    counts = table[by_class].bincount()
    return draw_negatives(samples, table[samples], torch.tensor(step), by_class, counts, k)


def test_negatives_are_different_samples_of_other_classes():
    table, samples = labels(5).clone(), torch.arange(30)
    table[40:50] = -1
    for step in range(20):
        found = draw(samples, step, 20, table)
        assert (table[found] >= 0).all(), 'an unlabeled sample'
        assert (table[found] != table[samples][:, None]).all(), 'one of the same class'
        assert all(len(set(each)) == 20 for each in found.tolist()), 'the same one twice'


def test_negatives_come_again_only_where_there_are_not_as_many():
    (found,) = draw(torch.tensor([7]), 0, 100)
    counts = found.bincount(minlength=SIZE)[labels(5) != labels(5)[7]]
    assert counts.sum() == 100 and counts.max() - counts.min() == 1


def test_negatives_are_a_function_of_the_sample_and_the_step():
    samples = torch.tensor([3, 8, 20])
    found = draw(samples, 5, 10)
    assert torch.equal(draw(samples.flip(0), 5, 10).flip(0), found)
    assert not torch.equal(draw(samples, 6, 10), found)
    assert not torch.equal(found[0], found[2])


def test_each_negative_is_as_likely_as_any_other():
    counts = torch.zeros(SIZE)
    for step in range(2000):
        counts += draw(torch.tensor([0]), step, 6)[0].bincount(minlength=SIZE)
    others = labels(5) != labels(5)[0]
    expected = 2000 * 6 / int(others.sum())
    assert not counts[~others].any()
    assert ((counts[others] - expected) / math.sqrt(expected)).abs().max() < 4


def test_the_memory_is_read_before_it_is_written():
    distiller, batch = prepared(CRD(nce_k=4, feat_dim=3), 6, 5, steps=0)
    before = distiller.memory_s.clone()
    losses(distiller, batch)
    assert torch.equal(distiller.memory_s, before)
    observe(distiller, batch)
    changed = (distiller.memory_s != before).any(1)
    assert changed.nonzero().squeeze(1).tolist() == sorted(batch.samples.tolist())
    close(distiller.memory_s[changed].norm(dim=1), torch.ones(6))


def test_the_normalizers_are_set_once():
    distiller, batch = prepared(CRD(nce_k=4, feat_dim=3), 6, 5)
    first = distiller.log_z.clone()
    assert first.all()
    observe(distiller, batch)
    assert torch.equal(distiller.log_z, first)


def test_a_sample_that_comes_twice_is_averaged():
    distiller, batch = prepared(CRD(nce_k=4, feat_dim=3), 4, 5)
    batch.samples[1] = batch.samples[0]
    student, teacher, _ = batch.predictions()
    rows, _ = distiller.directions(student['weak'], teacher['weak'])
    old = distiller.memory_s[batch.samples[0]].clone()
    observe(distiller, batch)
    new = 0.5 * old + 0.5 * rows[:2].detach().mean(0)
    close(distiller.memory_s[batch.samples[0]], new / new.norm())


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda p: p._replace(samples=None), 'this batch has none: give the model keys='),
        (lambda p: p, 'remove Mixup, CutMix'),
    ],
    ids=['no sample numbers', 'mixed labels'],
)
def test_bad_batches_are_refused(change, sentence):
    distiller, batch = prepared(CRD(nce_k=4), 6, 5)
    student, teacher, target = batch.predictions()
    target = torch.eye(5)[target].double() if 'Mixup' in sentence else target
    with pytest.raises(InputError, match=sentence):
        distiller.pair(change(student['weak']), teacher['weak'], target)


def test_a_training_set_that_it_was_not_told_of_is_asked_for():
    distiller = CRD()
    _, batch = prepared(CRD(), 6, 5)
    student, teacher, target = batch.predictions()
    with pytest.raises(InputError, match=r'call distiller.connect\(TrainingData'):
        distiller.pair(student['weak'], teacher['weak'], target)


def test_a_training_set_of_one_class_is_refused():
    with pytest.raises(InputError, match='the training set needs two'):
        CRD().connect(TrainingData(3, 5, torch.tensor([2, 2, -1])))


def test_samples_without_label_are_refused_unless_asked_for():
    distiller, batch = prepared(CRD(nce_k=4), 6, 5)
    batch.target[0] = -1
    with pytest.raises(InputError, match='without a label'):
        losses(distiller, batch)
    distiller, batch = prepared(CRD(nce_k=4, unlabeled='teacher'), 6, 5)
    batch.target[0] = -1
    assert losses(distiller, batch)['loss_kd'].isfinite()


def test_defaults_are_the_published_ones():
    distiller = CRD()
    assert (distiller.ce_weight, distiller.kd_weight, distiller.feat_dim) == (1, 0.8, 128)
    assert (distiller.nce_k, distiller.temperature, distiller.momentum, distiller.eps) == (16384, 0.07, 0.5, 1e-7)
    assert distiller.student_taps == distiller.teacher_taps == ('embedding',)
    distiller.connect(TrainingData(1000, 5, torch.arange(1000) % 5))
    assert distiller.memory_s.abs().max() <= 1 / math.sqrt(128 / 3) < 1.001 * distiller.memory_s.abs().max()
