"""Top-k accuracy."""

from __future__ import annotations

import mmpretrain.evaluation
import torch
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import METRICS

from .per_sample import PerSampleMetric


@METRICS.register_module()
class Accuracy(PerSampleMetric, mmpretrain.evaluation.Accuracy):
    """Top-k accuracy in percent: mmpretrain's numbers, options and keys (``accuracy/top1``), a batch at a time.

    Kept per sample: the place of the true class among the ``max(topk)`` highest scores, and its score. Classes of
    equal score are placed as ``torch.topk`` does it on the device of the scores. Predictions without scores, labels
    alone, are for ``mmpretrain.Accuracy``.

    Args:
        topk (int | Sequence[int]): A prediction counts when the true class is among the k highest scores.
        thrs (float | None | Sequence[float | None]): It counts only if that class's score is above the threshold;
            None applies no threshold.
        collect_device (str): mmpretrain's, without effect here.
        prefix (str | None): Replaces ``'accuracy'`` in the keys.

    Raises:
        InputError: A ``topk`` below 1 or above the number of classes.
    """

    def __init__(self, topk=(1,), thrs=0.0, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        mmpretrain.evaluation.Accuracy.__init__(self, topk, thrs, collect_device, prefix)
        if not self.topk or min(self.topk) < 1:
            raise InputError(f'Accuracy: topk must be 1 or more, not {topk}.')

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """Place (``max(topk)`` where absent) and score of the true class, ``(N, 2)``."""
        depth = max(self.topk)
        if depth > scores.shape[1]:
            raise InputError(
                f'Accuracy: topk={depth} is more than the {scores.shape[1]} classes of the model: change '
                'val_evaluator and test_evaluator.'
            )
        best, classes = scores.topk(depth)
        hit = classes == target[:, None]
        places = torch.arange(depth, device=scores.device)
        return torch.stack([torch.where(hit, places, depth).amin(1).float(), torch.where(hit, best, 0).sum(1)], dim=1)

    def summarize(self, rows: Tensor) -> dict[str, float]:
        """``top{k}`` in percent, with a suffix per threshold where there are several."""
        place, score = rows.unbind(1)
        metrics = {}
        for k in self.topk:
            for threshold in self.thrs:
                correct = place < k if threshold is None else (place < k) & (score > threshold)
                suffix = '_no-thr' if threshold is None else f'_thr-{threshold:.2f}'
                # mmpretrain's arithmetic, for the same last digit
                metrics[f'top{k}{suffix if len(self.thrs) > 1 else ""}'] = (
                    correct.float().sum().mul_(100.0 / len(rows)).item()
                )
        return metrics
