"""ReviewKD: reference numbers, the formula in loops, a number by hand, fusion, warm-up."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.distillers import ReviewKD, hcl_loss
from crld_zoo.errors import InputError

from .map_testers import check_projected_row, maps_of, random_maps, rows, run, set_up, step
from .testers import begin, close

ALTERNATIVES = dict(
    taps=['stage2', 'stage3', 'stage1', 'embedding'], teacher_taps=['stage1', 'stage2:pre', 'stage3:pre', 'embedding']
)


@pytest.mark.parametrize('row', rows('reviewkd'))
def test_reference_numbers(row):
    levels = len(row['feat_s'])
    taps = [*(f'stage{number + 1}' for number in range(levels - 1)), 'embedding']

    def own_name(name: str) -> str:
        """The rows count the fusions from the deepest."""
        level, rest = name.split('.', 1)
        return f'projections.{levels - 1 - int(level)}.{rest.replace("att_conv.0", "attention")}'

    epoch = row['extra']['epoch']
    distiller = ReviewKD(taps, taps, warmup=0, ce_weight=0.0)
    check_projected_row(row, distiller, own_name)
    distiller.warmup = row['params']['warmup_epochs']
    begin(distiller, epoch)
    close(run(distiller, *maps_of(row)), row['outputs']['loss_at_epoch'], rtol=1e-7)  # the factor is kept in fp32


def means(plane, side):
    """The means of ``side x side`` equal parts of a square map."""
    part = len(plane) // side
    return [
        sum(float(plane[i + a, j + b]) for a in range(part) for b in range(part)) / part**2
        for i in range(0, len(plane), part)
        for j in range(0, len(plane), part)
    ]


@pytest.mark.parametrize(
    ('height', 'weights'),
    [(8, {8: 1, 4: 1 / 2, 2: 1 / 4, 1: 1 / 8}), (4, {4: 1, 2: 1 / 2, 1: 1 / 4}), (2, {2: 1, 1: 1 / 2}), (1, {1: 1})],
)
def test_formula_in_loops(height, weights):
    (maps_s,), (maps_t,) = random_maps((2, 3, height, height)), random_maps((2, 3, height, height), seed=1)
    expected = []
    for n in range(2):
        total = 0
        for side, weight in weights.items():
            pairs = [
                (a - b) ** 2
                for c in range(3)
                for a, b in zip(means(maps_s[n, c], side), means(maps_t[n, c], side), strict=True)
            ]
            total += weight * sum(pairs) / len(pairs)
        expected.append(total / sum(weights.values()))
    close(hcl_loss([maps_s], [maps_t]), expected, rtol=1e-10)


def test_number_by_hand():
    # Differences (2, 0; 0, 0): mean square 1, of the mean 1/4: (1 + 1/2 * 1/4) / (3/2).
    s, t = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]]).double(), torch.zeros(1, 1, 2, 2).double()
    close(hcl_loss([s], [t]), [0.75])


def test_defaults_are_the_published_ones():
    distiller = ReviewKD()
    assert (distiller.ce_weight, distiller.kd_weight, distiller.warmup) == (1, 1, 20)
    assert distiller.student_taps == ('stage1', 'stage2', 'stage3', 'embedding')
    assert distiller.teacher_taps == ('stage1:pre', 'stage2:pre', 'stage3:pre', 'embedding')
    assert not distiller.per_sample


def test_a_batch_of_one_is_refused():
    maps = random_maps((2, 3, 2, 2), (2, 3))
    distiller = set_up(ReviewKD(['stage1', 'embedding'], ['stage1', 'embedding'], warmup=0), maps, maps)
    with pytest.raises(InputError, match='has one sample'):
        run(distiller, [each[:1] for each in maps], maps)


def test_networks_of_two_libraries():
    model, losses = step(dict(type='ReviewKD', warmup=0), 'timm::mobilenetv2_100', 'torchvision::resnet34')
    assert losses['loss_kd'] > 0
    assert all(parameter.grad is not None for parameter in model.distiller.parameters())
