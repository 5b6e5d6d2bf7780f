"""FitNet: reference numbers, the formula in loops, a number by hand, shapes, networks of two libraries."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.distillers import FitNet, fitnet_loss
from crld_zoo.errors import InputError

from .map_testers import check_projected_row, random_maps, rows, run, set_up, step
from .testers import close

WEIGHTS = {'conv': '0', 'bn': '1'}

ALTERNATIVES = dict(teacher_taps=['stage3'])


def own_name(name: str) -> str:
    layer, kind = name.split('.')
    return f'projections.0.{WEIGHTS[layer]}.{kind}'


@pytest.mark.parametrize('row', rows('fitnet'))
def test_reference_numbers(row):
    distiller = check_projected_row(row, FitNet(ce_weight=0.0, kd_weight=1.0), own_name)
    norm = distiller.projections[0][1]
    close(norm.running_mean, row['outputs']['bn_running_mean_after'])
    close(norm.running_var, row['outputs']['bn_running_var_after'])


def test_formula_in_loops():
    maps_s, maps_t = random_maps((3, 2, 2, 2), (3, 4, 1, 1)), random_maps((3, 2, 2, 2), (3, 4, 1, 1), seed=1)
    expected = [
        sum(
            sum((a - b) ** 2 for a, b in zip(s[n].flatten().tolist(), t[n].flatten().tolist(), strict=True))
            / s[n].numel()
            for s, t in zip(maps_s, maps_t, strict=True)
        )
        for n in range(3)
    ]
    close(fitnet_loss(maps_s, maps_t), expected, rtol=1e-10)


def test_number_by_hand():
    # (1 - 3)^2 = 4 and (2 - 2)^2 = 0: mean 2
    close(fitnet_loss([torch.tensor([[[[1.0]], [[2.0]]]])], [torch.tensor([[[[3.0]], [[2.0]]]])]), [2.0])


@pytest.mark.parametrize('sizes', [(8, 8), (8, 4), (4, 8), (8, 5), (3, 8)], ids=str)
def test_regressor_of_maps_of_any_sizes(sizes):
    maps = random_maps((4, 3, sizes[0], sizes[0])), random_maps((4, 5, sizes[1], sizes[1]))
    distiller = set_up(FitNet(), *maps)
    if sizes[0] * 2 >= sizes[1] and sizes != (3, 8):
        assert distiller.projections[0](maps[0][0]).shape == maps[1][0].shape
    assert run(distiller, *maps) > 0


def test_defaults_are_the_published_ones():
    distiller = FitNet()
    assert (distiller.ce_weight, distiller.kd_weight, distiller.student_taps) == (1, 100, ('stage2',))
    assert not distiller.per_sample and not distiller.reads_logits


def test_bad_input_ends_in_a_sentence():
    with pytest.raises(InputError, match='cannot compare maps of shapes'):
        fitnet_loss(random_maps((2, 1, 4, 4)), random_maps((2, 5, 4, 4)))
    with pytest.raises(InputError, match='the student has 1 and the teacher 2'):
        fitnet_loss(random_maps((2, 5, 4, 4)), random_maps((2, 5, 4, 4), (2, 5, 4, 4)))
    with pytest.raises(InputError, match='taps names 1 of the student and teacher_taps 2'):
        FitNet(teacher_taps=['stage1', 'stage2'])
    with pytest.raises(InputError, match='a list of one name or more'):
        FitNet(taps='stage2')
    with pytest.raises(InputError, match='call distiller.setup'):
        run(FitNet(), random_maps((2, 5, 4, 4)), random_maps((2, 5, 4, 4)))


def test_networks_of_two_libraries():
    model, losses = step(dict(type='FitNet'), 'timm::mobilenetv2_100', 'torchvision::resnet34')
    assert losses['loss_kd'] > 0
    assert all(parameter.grad is not None for parameter in model.distiller.parameters())


def test_tokens_of_a_transformer_are_a_map():
    _, losses = step(dict(type='FitNet'), 'timm::mobilenetv2_100', 'timm::vit_tiny_patch16_224', size=64)
    assert losses['loss_kd'] > 0
