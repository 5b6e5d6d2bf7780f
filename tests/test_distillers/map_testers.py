"""What the tests of the methods that compare maps share: reference rows, random maps, a step on real networks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from crld_zoo.distillers import Distiller, MapDistiller, Networks, Prediction
from crld_zoo.models import Distillation

from .testers import close, leaf, total

DATA = Path(__file__).parents[1] / 'data'


def rows(method: str) -> list:
    """The reference rows of a method, as parameters of a test."""
    return [
        pytest.param(row, id=row['id']) for row in json.loads((DATA / f'{method}.json').read_text(encoding='utf-8'))
    ]


def maps_of(row: dict) -> tuple[list[Tensor], list[Tensor]]:
    """The student's maps, with gradient, and the teacher's."""
    return [leaf(values) for values in row['feat_s']], [
        torch.tensor(values, dtype=torch.float64) for values in row['feat_t']
    ]


def random_maps(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def predictions(maps: list[Tensor], taps: tuple[str, ...]) -> dict[str, Prediction]:
    """A network's prediction of the weak view that has these maps."""
    logits = torch.zeros(len(maps[0]), 3, dtype=torch.float64)
    return {'weak': Prediction(logits, dict(zip(taps, maps, strict=True)))}


NETWORKS = Networks(nn.Identity(), nn.Identity())


def set_up(
    distiller: MapDistiller, maps_s: list[Tensor], maps_t: list[Tensor], networks: Networks = NETWORKS
) -> MapDistiller:
    """The distiller with projections for such maps, in float64."""
    student, teacher = predictions(maps_s, distiller.student_taps), predictions(maps_t, distiller.teacher_taps)
    with torch.no_grad():
        distiller.setup(student, teacher, networks)
    return distiller.double()


def run(distiller: Distiller, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
    """What is minimized on such maps."""
    student, teacher = predictions(maps_s, distiller.student_taps), predictions(maps_t, distiller.teacher_taps)
    return total(distiller(student, teacher, torch.zeros(len(maps_s[0]), dtype=torch.int64)))


def check_gradients(actual: Tensor, row: dict, maps_s: list[Tensor], weights: Mapping[str, Tensor] = {}) -> None:
    """The loss is the row's, and so are the gradients of maps and weights."""
    close(actual, row['loss'])
    actual.backward()
    found = [(feature.grad, grad) for feature, grad in zip(maps_s, row['grad_feat_s'], strict=True)]
    found += [(weights[name].grad, grad) for name, grad in row.get('grad_weights', {}).items()]
    for gradient, expected in found:
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-8 * float(expected.abs().max()) + 1e-12)


def check_row(row: dict, loss: Callable[..., Tensor], distiller: Callable[..., MapDistiller], **options) -> None:
    """A function and a distiller without projections reproduce a reference row."""
    maps_s, maps_t = maps_of(row)
    check_gradients(loss(maps_s, maps_t, **options).mean(), row, maps_s)
    maps_s, maps_t = maps_of(row)
    taps = [f'stage{number + 1}' for number in range(len(maps_s))]
    module = set_up(distiller(taps=taps, ce_weight=0.0, kd_weight=1.0, **options), maps_s, maps_t)
    check_gradients(run(module, maps_s, maps_t), row, maps_s)


def check_projected_row(
    row: dict, distiller: MapDistiller, names: Callable[[str], str], networks: Networks = NETWORKS
) -> MapDistiller:
    """A distiller with projections reproduces a reference row; ``names`` are its own names of the row's weights."""
    maps_s, maps_t = maps_of(row)
    set_up(distiller, maps_s, maps_t, networks)
    parameters = dict(distiller.named_parameters())
    assert {names(name) for name in row['weights']} == parameters.keys()
    with torch.no_grad():
        for name, values in row['weights'].items():
            parameters[names(name)].copy_(torch.tensor(values, dtype=torch.float64))
    check_gradients(
        run(distiller, maps_s, maps_t), row, maps_s, {name: parameters[names(name)] for name in row['weights']}
    )
    return distiller


def step(distiller: dict, student: str, teacher: str, size: int = 64, **options) -> tuple[Distillation, dict]:
    """Two steps of training on real networks of any library: the model, and the losses of the second."""
    model = Distillation(
        student=dict(model=student, num_classes=5),
        teacher=dict(model=teacher, num_classes=5, checkpoint='random', **options),
        distiller=distiller,
        data_preprocessor=dict(
            type='ViewPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, image_size=size, channels_last=False
        ),
    ).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    images, labels = torch.randn(4, 3, size, size), torch.tensor([0, 1, 2, 3])
    for _ in range(2):
        losses = model({'weak': images}, labels, mode='loss')
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
        model.observe()
    assert all(loss.isfinite() for loss in losses.values())
    return model, losses
