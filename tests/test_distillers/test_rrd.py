"""RRD: reference numbers over several steps, the formula in loops, a number by hand, the queue."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import RRD, rrd_loss
from crld_zoo.distillers.features.rrd import enqueue
from crld_zoo.models import Distillation

from .map_testers import predictions, random_maps, rows, run, set_up, step
from .testers import close, leaf, observe, prepared

ALTERNATIVES = dict(nce_k=32, feat_dim=16, taps=['stage2'], teacher_taps=['stage2'])


@pytest.mark.parametrize('row', rows('rrd'))
def test_reference_numbers(row):
    """The loss, the gradients and the place in the queue of each of several steps."""
    maps = [torch.tensor(row['steps'][0][f'feature_{side}']).double() for side in ('student', 'teacher')]
    distiller = set_up(RRD(**row['params'], ce_weight=0.0), maps[:1], maps[1:])
    weights = dict(distiller.named_parameters())
    with torch.no_grad():
        distiller.queue.copy_(torch.tensor(row['queue0']))
        for number, side in enumerate('st'):
            for kind in ('weight', 'bias'):
                values = torch.tensor(row[f'embed_{side}_{kind}'], dtype=torch.float64)
                weights[f'projections.{number}.{kind}'].copy_(values)
        distiller.queue.copy_(torch.tensor(row['queue0'], dtype=torch.float64))
    for number, each in enumerate(row['steps']):
        student, teacher = leaf(each['feature_student']), torch.tensor(each['feature_teacher'], dtype=torch.float64)
        distiller.zero_grad()
        loss = run(distiller, [student], [teacher])
        loss.backward()
        close(loss, each['loss'])
        close(student.grad, each['grad_feature_student'])
        close(weights['projections.0.weight'].grad, each['grad_embed_s_weight'])
        assert (weights['projections.1.weight'].grad is not None) == each['embed_t_weight_has_grad']
        seen = (predictions([maps.detach()], ('embedding',)) for maps in (student, teacher))
        with torch.no_grad():
            distiller.observe(*seen, torch.zeros(len(student), dtype=torch.int64))
        assert distiller.place == each['queue_ptr_after'], f'step {number}'


def test_formula_in_loops():
    student, teacher, queue = random_maps((3, 4), (3, 4), (5, 4))
    expected = []
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        of_s, of_t = (
            [sum(a * b for a, b in zip(x, q, strict=True)) / T for q in queue.tolist()] for x, T in ((s, 0.3), (t, 0.2))
        )
        total_s, total_t = (sum(map(math.exp, each)) for each in (of_s, of_t))
        pairs = zip(of_s, of_t, strict=True)
        expected.append(-sum(math.exp(b) / total_t * math.log(math.exp(a) / total_s) for a, b in pairs))
    close(rrd_loss(student, teacher, queue, nce_t_s=0.3, nce_t_t=0.2), expected, rtol=1e-10)


def test_number_by_hand():
    # The teacher is sure of the first of two, to which the student is at log 3: -log 3/4.
    queue = torch.eye(2).double()
    student = torch.tensor([[math.log(3), 0.0]], dtype=torch.float64)
    close(rrd_loss(student, 50 * queue[:1], queue, nce_t_s=1.0, nce_t_t=1.0), [math.log(4 / 3)])


@pytest.mark.parametrize(
    ('place', 'count', 'expected'),
    [(0, 2, [10, 11, 2, 3]), (3, 2, [11, 1, 2, 10]), (1, 4, [13, 10, 11, 12]), (1, 6, [13, 14, 15, 12])],
)
def test_the_oldest_leave_the_queue(place, count, expected):
    queue, new = torch.arange(4.0)[:, None], torch.arange(10.0, 10 + count)[:, None]
    enqueue(queue, torch.tensor(place), new)
    assert queue.squeeze(1).tolist() == expected


def test_what_a_step_is_compared_with_is_what_it_leaves():
    distiller, batch = prepared(RRD(nce_k=8, feat_dim=4), 6, 5, steps=0)
    student, teacher, _ = batch.predictions()
    _, rows = distiller.directions(student['weak'], teacher['weak'])
    before = distiller.queue.clone()
    observe(distiller, batch)
    close(distiller.queue, torch.cat([rows.detach(), before[6:]]))


def test_the_teacher_s_layer_stays_and_the_student_s_is_trained():
    distiller, batch = prepared(RRD(nce_k=8, feat_dim=4), 6, 5)
    distiller(*batch.predictions())['loss_kd'].backward()
    of_student, of_teacher = distiller.projections
    assert of_student.weight.grad.any()
    assert not of_teacher.weight.requires_grad


def test_defaults_are_the_published_ones():
    distiller = RRD()
    assert (distiller.ce_weight, distiller.kd_weight, distiller.feat_dim) == (1, 1, 128)
    assert (len(distiller.queue), distiller.nce_t_s, distiller.nce_t_t) == (16384, 0.1, 0.02)
    assert distiller.student_taps == distiller.teacher_taps == ('embedding',)
    close(distiller.queue.square().sum(0), torch.ones(128), rtol=1e-5)


def test_networks_of_two_libraries():
    model, losses = step(dict(type='RRD', nce_k=64), 'timm::mobilenetv2_100', 'torchvision::resnet18')
    assert isinstance(model, Distillation)
    assert losses['loss_kd'].isfinite()
    assert model.distiller.place == 8, 'two steps of four'
