"""CC: reference numbers of both forms, each in loops and by hand, what is learned, bad input."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import CC, correlation_loss
from crld_zoo.errors import InputError

from .map_testers import check_projected_row, check_row, random_maps, rows, set_up, step
from .testers import close

ALTERNATIVES = dict(feat_dim=16, taps=['stage2'], teacher_taps=['stage2'])
WHERE = dict(gamma=dict(form='rbf'), p_order=dict(form='rbf'))
OWN_NAMES = {'embed_s.linear': 'projections.0', 'embed_t.linear': 'projections.1'}


def own_name(name: str) -> str:
    module, _, kind = name.rpartition('.')
    return f'{OWN_NAMES[module]}.{kind}'


@pytest.mark.parametrize('row', rows('cc'))
def test_reference_numbers(row):
    if 'weights' in row:
        distiller = CC(feat_dim=row['params']['embed_dim'], ce_weight=0.0, kd_weight=1.0)
        check_projected_row(row, distiller, own_name)
    else:
        options = dict(form='rbf', gamma=row['params']['gamma'], p_order=row['params']['P_order'])
        check_row(
            row,
            lambda maps_s, maps_t, **options: correlation_loss(*maps_s, *maps_t, **options),
            lambda taps, **options: CC(taps=['embedding'], teacher_taps=taps, **options),
            **options,
        )


def test_neighbors_in_loops():
    student, teacher = random_maps((4, 3), (4, 3))
    gaps = [[abs(a - b) for a, b in zip(x, y, strict=True)] for x, y in zip(student, teacher, strict=True)]
    expected = sum(float(gaps[i][k] * gaps[i + 1][k]) for i in range(3) for k in range(3)) / 3
    close(correlation_loss(student, teacher, form='neighbors'), [expected] * 4, rtol=1e-10)


def test_neighbors_by_hand():
    student = torch.tensor([[1.0, -2], [3, 0], [-1, 5]]).double()
    close(correlation_loss(student, torch.zeros_like(student), form='neighbors'), [(3 + 3) / 2] * 3)


def test_rbf_in_loops():
    def kernel(embedding):
        samples = [sample / math.sqrt(sum(value**2 for value in sample)) for sample in embedding]
        cosines = [float(sum(x * y)) for x in samples for y in samples]
        return [math.exp(-2 * 0.7) * sum((2 * 0.7) ** p / math.factorial(p) * c**p for p in range(4)) for c in cosines]

    student, teacher = random_maps((4, 3), (4, 5))
    expected = sum((a - b) ** 2 for a, b in zip(kernel(student), kernel(teacher), strict=True)) / 16
    close(correlation_loss(student, teacher, form='rbf', gamma=0.7, p_order=3), [expected] * 4, rtol=1e-10)


def test_rbf_by_hand():
    # g = 1/2, P = 1: K = (1 + cos) / e. Orthogonal against equal: two of four entries differ by 1 / e.
    loss = correlation_loss(torch.eye(2).double(), torch.ones(2, 2).double(), form='rbf', gamma=0.5, p_order=1)
    close(loss, [math.exp(-2) / 2] * 2)


def test_both_embeddings_are_learned():
    maps = random_maps((3, 6))
    distiller = set_up(CC(feat_dim=4), maps, maps)
    student, teacher = (leaf.requires_grad_() for leaf in random_maps((3, 6), (3, 6)))
    distiller.map_loss([student], [teacher]).mean().backward()
    assert all(parameter.grad.any() for parameter in distiller.parameters())
    assert student.grad.any()
    assert teacher.grad is None


@pytest.mark.parametrize('form', ['neighbors', 'rbf'])
def test_a_batch_of_one_is_refused(form):
    with pytest.raises(InputError, match='two or more'):
        correlation_loss(torch.ones(1, 4), torch.ones(1, 4), form=form, gamma=0.4, p_order=2)


@pytest.mark.parametrize(('form', 'shape'), [('neighbors', (4, 2)), ('neighbors', (3, 4)), ('rbf', (3, 4))])
def test_shapes_that_do_not_fit_are_refused(form, shape):
    with pytest.raises(InputError, match='cannot compare embeddings'):
        correlation_loss(torch.ones(4, 4), torch.ones(shape), form=form, gamma=0.4, p_order=2)


def test_more_than_one_feature_is_refused():
    with pytest.raises(InputError, match='give taps one name, not 2'):
        CC(taps=['stage2', 'embedding'])


def test_an_unknown_form_is_refused():
    with pytest.raises(InputError, match="form must be 'neighbors' or 'rbf', not 'cosine'"):
        CC(form='cosine')


def test_defaults_are_the_published_ones():
    distiller = CC()
    assert (distiller.ce_weight, distiller.kd_weight, distiller.feat_dim) == (1, 0.02, 128)
    assert (distiller.form, distiller.gamma, distiller.p_order) == ('neighbors', 0.4, 2)
    assert distiller.student_taps == distiller.teacher_taps == ('embedding',)
    assert not distiller.per_sample


def test_networks_of_two_libraries():
    _, losses = step(dict(type='CC'), 'timm::mobilenetv2_100', 'torchvision::resnet18')
    assert losses['loss_kd'].isfinite()
