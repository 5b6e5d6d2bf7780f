"""Top-k accuracy."""

from __future__ import annotations

from typing import Any

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
        topk (int | Sequence[int] | str): A prediction counts when the true class is among the k highest scores.
            ``'auto'`` is 1 and 5, or as many as there are classes where these are fewer than five.
        thrs (float | None | Sequence[float | None]): It counts only if that class's score is above the threshold;
            None applies no threshold.
        collect_device (str): mmpretrain's, without effect here.
        prefix (str | None): Replaces ``'accuracy'`` in the keys.

    Raises:
        InputError: A ``topk`` below 1, or above the number of classes: said when the Runner names the classes of the
            data, before it trains.
    """

    def __init__(self, topk=(1,), thrs=0.0, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        self._auto = topk == 'auto'
        mmpretrain.evaluation.Accuracy.__init__(self, (1, 5) if self._auto else topk, thrs, collect_device, prefix)
        if not self.topk or min(self.topk) < 1:
            raise InputError(f'Accuracy: topk must be 1 or more, not {topk}.')

    def check_classes(self, count: int) -> None:
        """Fit ``'auto'`` to the number of classes, and refuse what it does not reach."""
        if self._auto:
            self.topk = tuple(sorted({1, min(5, count)}))
        if max(self.topk) > count:
            raise InputError(
                f"Accuracy: topk={max(self.topk)} is more than the {count} classes: set topk='auto' or smaller "
                'numbers in val_evaluator and test_evaluator.'
            )

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """Place (``max(topk)`` where absent) and score of the true class, ``(N, 2)``."""
        self.check_classes(scores.shape[1])
        depth = max(self.topk)
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


@METRICS.register_module()
class PerClassAccuracy(PerSampleMetric):
    """Top-1 accuracy of each class in percent, as ``per_class_accuracy/classwise`` (in the order of the classes).

    ``per_class_accuracy/mean`` is their mean, the balanced accuracy, and ``per_class_accuracy/lowest`` that of the
    worst class; classes without a sample are NaN and count in neither.

    Args:
        prefix: Replaces ``'per_class_accuracy'`` in the keys.
    """

    default_prefix = 'per_class_accuracy'

    def __init__(self, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        self._classes = 0

    def check_classes(self, count: int) -> None:
        """Remember how many classes there are: the last ones may have no sample."""
        self._classes = count

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """The true class, and whether it was predicted, ``(N, 2)``."""
        self._classes = max(self._classes, scores.shape[1])
        return torch.stack([target, scores.argmax(1) == target], dim=1).float()

    def summarize(self, rows: Tensor) -> dict[str, Any]:
        """``mean``, ``lowest`` and ``classwise`` in percent."""
        target, right = rows[:, 0].long(), rows[:, 1]
        count = target.bincount(minlength=self._classes)
        accuracy = 100 * target.bincount(right, minlength=self._classes).double() / count
        tested = accuracy[count > 0]
        return dict(mean=tested.mean().item(), lowest=tested.min().item(), classwise=accuracy.tolist())
