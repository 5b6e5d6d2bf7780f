"""MGD: reference numbers, the formula in loops, a number by hand, the masks."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.distillers import MGD, mgd_loss
from crld_zoo.errors import InputError

from .map_testers import check_projected_row, random_maps, rows, run, set_up, step
from .testers import close

ALTERNATIVES = dict(teacher_taps=['stage3'])


@pytest.mark.parametrize('row', rows('mgd'))
def test_reference_numbers(row, monkeypatch):
    """With the row's mask: which numbers are drawn for it is no part of the method."""
    mask = torch.tensor(row['extra']['mask'], dtype=torch.float64)
    monkeypatch.setattr(MGD, 'kept', lambda self, feature: mask)
    distiller = MGD(row['params']['lambda_mgd'], row['params']['mask'], ce_weight=0.0, kd_weight=1.0)
    check_projected_row(row, distiller, lambda name: f'projections.0.{name}')


def test_formula_in_loops():
    maps_s, maps_t = random_maps((3, 2, 2, 2), (3, 1, 3, 3)), random_maps((3, 2, 2, 2), (3, 1, 3, 3), seed=1)
    expected = [
        sum(
            (a - b) ** 2
            for s, t in zip(maps_s, maps_t, strict=True)
            for a, b in zip(s[n].flatten().tolist(), t[n].flatten().tolist(), strict=True)
        )
        for n in range(3)
    ]
    close(mgd_loss(maps_s, maps_t), expected, rtol=1e-10)


def test_number_by_hand():
    close(mgd_loss([torch.tensor([[[[1.0, 2.0]]]])], [torch.tensor([[[[3.0, 5.0]]]])]), [13.0])


@pytest.mark.parametrize(('mask', 'shape'), [('channel', (64, 50, 1, 1)), ('spatial', (64, 1, 7, 7))])
def test_a_share_is_masked(mask, shape):
    kept = MGD(0.3, mask).kept(torch.zeros(64, 50, 7, 7))
    assert kept.shape == shape and set(kept.unique().tolist()) == {0.0, 1.0}
    assert abs(float(kept.mean()) - 0.7) < 0.05


def test_nothing_of_a_student_masked_whole_reaches_the_loss():
    maps_s, other, maps_t = random_maps((2, 3, 4, 4)), random_maps((2, 3, 4, 4), seed=1), random_maps((2, 5, 4, 4))
    distiller = set_up(MGD(lambda_mgd=1.0), maps_s, maps_t)
    close(run(distiller, maps_s, maps_t), run(distiller, other, maps_t))


def test_equal_channels_are_not_aligned():
    maps = random_maps((2, 3, 4, 4))
    names = {name for name, _ in set_up(MGD(), maps, maps).named_parameters()}
    assert not any('align' in name for name in names)


def test_defaults_are_the_published_ones():
    distiller = MGD()
    assert (distiller.ce_weight, distiller.kd_weight, distiller.lambda_mgd, distiller.mask) == (
        1,
        7e-5,
        0.15,
        'channel',
    )
    assert not distiller.per_sample


def test_bad_options_are_refused():
    with pytest.raises(InputError, match='from 0 to 1'):
        MGD(lambda_mgd=1.5)
    with pytest.raises(InputError, match="'channel' or 'spatial'"):
        MGD(mask='pixel')


def test_networks_of_two_libraries():
    model, losses = step(dict(type='MGD'), 'timm::mobilenetv2_100', 'torchvision::resnet18')
    assert losses['loss_kd'] > 0
    assert all(parameter.grad is not None for parameter in model.distiller.parameters())
