"""Dense: a loop over the pixels, sizes, pixels without a label, what it cannot hold."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from crld_zoo.distillers import DKD, KD, Dense, Prediction, dkd_loss, kd_loss
from crld_zoo.distillers.decorators.dense import pixels
from crld_zoo.errors import InputError

from .testers import begin, close, total

ALTERNATIVES = dict(ignore_index=0)


def maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def views(logits: torch.Tensor) -> dict[str, Prediction]:
    return {'weak': Prediction(logits)}


def labels(*shape: int, classes: int = 5, ignored: int | None = 255) -> torch.Tensor:
    target = torch.arange(torch.Size(shape).numel()).view(shape) % classes
    return target if ignored is None else torch.where(target == 3, ignored, target)


def test_a_loop_over_the_pixels():
    """Void pixels are left out of the cross-entropy, and of the teacher's class in DKD."""
    student, teacher, target = maps(2, 5, 3, 4), maps(2, 5, 3, 4, seed=1), labels(2, 3, 4)
    options = dict(alpha=1.0, beta=8.0, temperature=4.0)
    found = begin(Dense(DKD(warmup=0, kd_weight=0.5, ce_weight=0.3, **options)), 1)(
        views(student), views(teacher), target
    )
    kd, ce = [], []
    for n in range(2):
        for i in range(3):
            for j in range(4):
                s, t, y = student[n, :, i, j][None], teacher[n, :, i, j][None], target[n, i, j][None]
                if y == 255:
                    y = t.argmax(1)
                else:
                    ce.append(F.cross_entropy(s, y))
                kd.append(dkd_loss(s, t, y, **options))
    assert len(ce) < len(kd)
    close(found['loss_kd'], 0.5 * torch.cat(kd).mean(), rtol=1e-12)
    close(found['loss_ce'], 0.3 * torch.stack(ce).mean(), rtol=1e-12)


@pytest.mark.parametrize('height, width', [(3, 4), (6, 8), (2, 2)])
def test_logits_of_another_size_are_resized_to_the_labels(height, width):
    student, teacher, target = maps(2, 5, height, width), maps(2, 5, 3, 4, seed=1), labels(2, 3, 4, ignored=None)
    found = Dense(KD(ce_weight=0.0, kd_weight=1.0))(views(student), views(teacher), target)
    resized = F.interpolate(student, (3, 4), mode='bilinear') if (height, width) != (3, 4) else student
    rows = (each.permute(0, 2, 3, 1).reshape(-1, 5) for each in (resized, teacher))
    close(found['loss_kd'], kd_loss(*rows, temperature=4.0).mean())


def test_one_row_a_pixel_in_the_order_of_the_labels():
    logits = torch.arange(2 * 3 * 2 * 2).view(2, 3, 2, 2).float()
    rows = pixels(logits, (2, 2))
    assert rows[6].tolist() == logits[1, :, 1, 0].tolist()


@pytest.mark.parametrize(
    'inner', [dict(type='KD'), dict(type='LogitStandardization', distiller=dict(type='KD'))], ids=['KD', 'LS(KD)']
)
def test_images_of_one_pixel_are_classified_images(inner):
    student, teacher, target = maps(6, 5, 1, 1), maps(6, 5, 1, 1, seed=1), labels(6, 1, 1, ignored=None)
    dense = Dense(dict(inner))
    found = dense(views(student), views(teacher), target)
    plain = dense.distiller(views(student.flatten(1)), views(teacher.flatten(1)), target.flatten())
    for name, value in plain.items():
        close(found[name], value, rtol=1e-12)


def test_a_batch_of_void_has_no_cross_entropy_and_learns_from_the_teacher():
    student, teacher = maps(1, 5, 2, 2).requires_grad_(), maps(1, 5, 2, 2, seed=1)
    found = Dense(KD())(views(student), views(teacher), torch.full((1, 2, 2), 255))
    assert found['loss_ce'] == 0 and found['loss_kd'] > 0
    total(found).backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(
    ('inner', 'why'),
    [
        (dict(type='MLLD'), 'MLLD, which compares the samples of a batch'),
        (dict(type='SDD', distiller=dict(type='KD')), 'SDD'),
        (dict(type='FitNet'), 'FitNet: it compares no logits'),
        (dict(type='CRLD', distiller=dict(type='KD')), 'CRLD'),
        (dict(type='TfNKD'), 'TfNKD: it learns from no teacher'),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else '',
)
def test_what_it_cannot_hold(inner, why):
    with pytest.raises(InputError, match=f'Dense cannot decorate {why}'):
        Dense(inner)


def test_labels_that_are_no_maps():
    with pytest.raises(InputError, match=r'class of each pixel, \(N, H, W\), but the labels have shape \(2,\)'):
        Dense(KD())(views(maps(2, 5, 3, 4)), views(maps(2, 5, 3, 4)), torch.zeros(2, dtype=torch.int64))


def test_labels_of_pixels_without_it():
    with pytest.raises(InputError, match='the labels are those of pixels.*: decorate the distiller with Dense'):
        KD()(views(maps(2, 5)), views(maps(2, 5)), torch.zeros(2, 3, 4, dtype=torch.int64))
