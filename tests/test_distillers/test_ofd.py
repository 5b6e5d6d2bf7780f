"""OFD: reference numbers, the formula in loops, numbers by hand, margins, teachers without batch norms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from crld_zoo.distillers import OFD, Networks, ofd_loss
from crld_zoo.distillers.features.ofd import margin
from crld_zoo.errors import InputError

from .map_testers import check_projected_row, random_maps, rows, step
from .testers import close

ALTERNATIVES = dict(teacher_taps=['stage2:pre', 'stage3:pre', 'stage1:pre'])


def norm_of(weight: list[float], bias: list[float]) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(len(weight)).double()
    norm.weight.data, norm.bias.data = (torch.tensor(values, dtype=torch.float64) for values in (weight, bias))
    return norm


@pytest.mark.parametrize('row', rows('ofd'))
def test_reference_numbers(row):
    extra = row['extra']
    norms = [norm_of(*pair) for pair in zip(extra['teacher_bn_weight'], extra['teacher_bn_bias'], strict=True)]
    distiller = OFD([f'stage{number + 1}:pre' for number in range(len(norms))], ce_weight=0.0, kd_weight=1.0)
    networks = Networks(nn.Identity(), nn.Identity(), lambda: norms)
    check_projected_row(row, distiller, lambda name: f'projections.{name}', networks)
    for number, expected in enumerate(row['outputs']['margins']):
        close(getattr(distiller, f'margin{number}'), expected)


def test_formula_in_loops():
    maps_s, maps_t = random_maps((3, 2, 2, 2), (3, 1, 3, 3)), random_maps((3, 2, 2, 2), (3, 1, 3, 3), seed=1)
    margins = [torch.tensor([-0.3, -0.8]).double(), torch.tensor([-0.1]).double()]
    expected = []
    for n in range(3):
        stages = []
        for s, t, m in zip(maps_s, maps_t, margins, strict=True):
            stage = 0
            for c in range(s.shape[1]):
                for x, y in zip(s[n, c].flatten().tolist(), t[n, c].flatten().tolist(), strict=True):
                    y = max(y, float(m[c]))
                    if x > y or y > 0:
                        stage += (x - y) ** 2
            stages.append(stage)
        expected.append(stages[0] / 2 + stages[1])
    close(ofd_loss(maps_s, maps_t, margins), expected, rtol=1e-10)


def test_numbers_by_hand():
    # Margin -1. An active teacher always counts: (1 - 3)^2. One below the margin counts where the student is above it:
    # (0 + 1)^2, but not at -2.
    s, t = torch.tensor([[[[1.0, 0.0, -2.0]]]]), torch.tensor([[[[3.0, -5.0, -5.0]]]])
    close(ofd_loss([s], [t], [torch.tensor([-1.0])]), [5.0])


@pytest.mark.parametrize(
    ('weight', 'bias', 'expected'),
    [
        (1.0, 0.0, -math.sqrt(2 / math.pi)),
        (-2.0, 0.0, -2 * math.sqrt(2 / math.pi)),
        (1.0, 10.0, -3.0),  # hardly ever negative
        (0.0, -0.5, -0.5),  # constant
        (0.0, 0.5, 0.0),
    ],
)
def test_margin_is_the_mean_of_the_negative_values(weight, bias, expected):
    close(margin(norm_of([weight], [bias])), [expected], rtol=1e-6)


def test_margin_equals_a_sampled_mean():
    draws = 0.4 + 1.3 * torch.randn(1_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    close(margin(norm_of([1.3], [0.4])), [draws[draws < 0].mean()], rtol=5e-3)


def test_defaults_are_the_published_ones():
    distiller = OFD()
    assert (distiller.ce_weight, distiller.kd_weight) == (1, 1e-3)
    assert distiller.student_taps == distiller.teacher_taps == ('stage1:pre', 'stage2:pre', 'stage3:pre')
    assert not distiller.per_sample


def test_networks_of_two_libraries():
    model, losses = step(dict(type='OFD'), 'timm::mobilenetv2_100', 'torchvision::resnet34')
    assert losses['loss_kd'] > 0
    assert not model.teacher.training
    assert all(parameter.grad is not None for parameter in model.distiller.parameters())


def test_a_teacher_without_batch_norms_is_refused():
    with pytest.raises(InputError, match='batch norm'):
        step(dict(type='OFD'), 'timm::mobilenetv2_100', 'timm::vit_tiny_patch16_224')
    with pytest.raises(InputError, match="not 'stage1'"):
        step(dict(type='OFD', teacher_taps=['stage1'], taps=['stage1']), 'timm::mobilenetv2_100', 'timm::resnet18')
