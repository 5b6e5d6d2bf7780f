"""MeanIoU: a loop over the pixels, batches, pixels without a class, classes that do not occur."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.errors import InputError
from crld_zoo.evaluation import BatchPrediction, MeanIoU


def predicted(count: int, classes: int = 4, size: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(count, classes, size, size, generator=generator)
    target = torch.randint(classes - 1, (count, size, size), generator=generator)  # the last one never occurs
    target[:, 0] = 255
    return scores, target


def evaluate(scores: torch.Tensor, target: torch.Tensor, batch: int) -> dict[str, float]:
    metric = MeanIoU()
    for some, labels in zip(scores.split(batch), target.split(batch), strict=True):
        metric.process(None, BatchPrediction(some, labels).samples())
    return metric.evaluate(len(scores))


@pytest.mark.parametrize('batch', [1, 2, 5])
def test_a_loop_over_the_pixels(batch):
    scores, target = predicted(5)
    found = scores.argmax(1)
    both, union, right, total = [0] * 4, [0] * 4, 0, 0
    for p, y in zip(found.flatten().tolist(), target.flatten().tolist(), strict=True):
        if y == 255:
            continue
        total += 1
        right += p == y
        both[y] += p == y
        for k in {p, y}:
            union[k] += 1
    metrics = evaluate(scores, target, batch)
    assert metrics.keys() == {'miou/mean', 'miou/pixels'}
    assert metrics['miou/mean'] == pytest.approx(100 * sum(b / u for b, u in zip(both, union, strict=True)) / 4)
    assert metrics['miou/pixels'] == pytest.approx(100 * right / total)


def test_a_class_that_does_not_occur_does_not_count():
    target = torch.tensor([[[0, 1]]])
    scores = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]]]])
    assert evaluate(scores, target, 1) == {'miou/mean': 100.0, 'miou/pixels': 100.0}


def test_what_is_no_map():
    with pytest.raises(InputError, match=r'scores \(N, K, H, W\) and labels \(N, H, W\) are needed'):
        MeanIoU().process(None, BatchPrediction(torch.rand(2, 3), torch.zeros(2, dtype=torch.int64)).samples())
