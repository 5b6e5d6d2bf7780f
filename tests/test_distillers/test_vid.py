"""VID: reference numbers, the formula in loops, a number by hand, variances that train."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import VID, vid_loss
from crld_zoo.errors import InputError

from .map_testers import check_projected_row, random_maps, rows, run, set_up, step
from .testers import close

ALTERNATIVES = dict(eps=0.5, teacher_taps=['stage2', 'stage3', 'stage1'])


def own_name(name: str) -> str:
    """``regressor0.2.weight`` -> ``projections.0.2.weight``, ``log_scale1`` -> ``log_scales.1``."""
    if name.startswith('regressor'):
        return 'projections.' + name.removeprefix('regressor')
    return 'log_scales.' + name.removeprefix('log_scale')


@pytest.mark.parametrize('row', rows('vid'))
def test_reference_numbers(row):
    """With the variances' gradients, which mdistiller never uses: it leaves them out of the optimizer."""
    taps = [f'stage{number + 1}' for number in range(len(row['feat_s']))]
    distiller = VID(row['params']['init_pred_var'], row['params']['eps'], taps=taps, ce_weight=0.0)
    check_projected_row(row, distiller, own_name)


def test_formula_in_loops():
    maps_s, maps_t = random_maps((3, 2, 2, 2), (3, 1, 1, 3)), random_maps((3, 2, 2, 2), (3, 1, 1, 3), seed=1)
    scales = [torch.tensor([0.3, -2.0]).double(), torch.tensor([4.0]).double()]
    expected = []
    for n in range(3):
        stages = []
        for s, t, rho in zip(maps_s, maps_t, scales, strict=True):
            values = []
            for c in range(s.shape[1]):
                v = math.log(1 + math.exp(float(rho[c]))) + 0.1
                pairs = zip(s[n, c].flatten().tolist(), t[n, c].flatten().tolist(), strict=True)
                values += [0.5 * ((a - b) ** 2 / v + math.log(v)) for a, b in pairs]
            stages.append(sum(values) / len(values))
        expected.append(sum(stages))
    close(vid_loss(maps_s, maps_t, scales, eps=0.1), expected, rtol=1e-10)


def test_number_by_hand():
    # v = log(1 + e^0) + 1 - log 2 = 1, so 0.5 (1 - 3)^2
    one, three = torch.ones(1, 1, 1, 1).double(), torch.full((1, 1, 1, 1), 3.0).double()
    close(vid_loss([one], [three], [torch.zeros(1).double()], eps=1 - math.log(2)), [2.0])


def test_first_variance_is_the_option_s():
    maps = random_maps((2, 3, 4, 4))
    distiller = set_up(VID(init_pred_var=5.0, eps=0.5, taps=['stage1']), maps, maps)
    close(torch.nn.functional.softplus(distiller.log_scales[0]) + 0.5, [5.0] * 3, rtol=1e-6)


def test_variances_train():
    maps = random_maps((2, 3, 4, 4))
    distiller = set_up(VID(taps=['stage1']), maps, maps)
    run(distiller, maps, maps).backward()
    assert distiller.log_scales[0].grad.all()


def test_defaults_are_the_published_ones():
    distiller = VID()
    assert (distiller.ce_weight, distiller.kd_weight, distiller.init_pred_var, distiller.eps) == (1, 1, 5, 1e-5)
    assert distiller.student_taps == distiller.teacher_taps == ('stage1', 'stage2', 'stage3')


def test_a_variance_below_the_least_is_refused():
    with pytest.raises(InputError, match='must be a number above 0'):
        VID(init_pred_var=0.1, eps=0.2)


def test_networks_of_two_libraries():
    model, losses = step(dict(type='VID'), 'timm::mobilenetv2_100', 'torchvision::resnet18')
    assert losses['loss_kd'].isfinite()
    assert all(parameter.grad is not None for parameter in model.distiller.parameters())
