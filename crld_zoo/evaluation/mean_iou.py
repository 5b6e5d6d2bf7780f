"""Mean intersection over union, of segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric

from crld_zoo.errors import InputError
from crld_zoo.registry import METRICS

from .predictions import scores_and_labels


@METRICS.register_module()
class MeanIoU(BaseMetric):
    """The intersection over union of each class over all pixels, averaged over the classes that occur; in percent.

    ``miou/mean``, and ``miou/pixels``, the share of pixels that are right. Kept per image: pixels of each class in
    prediction, label and both.

    Args:
        ignore_index: The class of pixels that do not count.
        collect_device: As for every metric of MMEngine.
        prefix: Replaces ``'miou'`` in the keys.

    Raises:
        InputError: Predictions that are no maps, or of another size than the labels.

    Example:
        >>> counts = torch.tensor([[3, 1], [2, 2], [2, 1]])  # predicted, labeled, both: 2 / 3 and 1 / 2
        >>> MeanIoU().compute_metrics([counts])['mean']
        58.333...
    """

    default_prefix = 'miou'

    def __init__(self, ignore_index: int = 255, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_index = ignore_index

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Count the pixels of one batch's images."""
        scores, target = scores_and_labels(data_samples)
        if scores.dim() != 4 or target.shape != scores.shape[:1] + scores.shape[2:]:
            raise InputError(
                'MeanIoU: scores (N, K, H, W) and labels (N, H, W) are needed, but their shapes are '
                f'{tuple(scores.shape)} and {tuple(target.shape)}.'
            )
        classes = scores.shape[1]
        for found, label in zip(scores.argmax(1), target, strict=True):
            valid = label != self.ignore_index
            found, label = found[valid], label[valid]
            parts = (found, label, label[found == label])
            self.results.append(torch.stack([part.bincount(minlength=classes)[:classes] for part in parts]).cpu())

    def compute_metrics(self, results: list[torch.Tensor]) -> dict[str, float]:
        """The metrics from the counts ``(3, K)`` of each image."""
        found, label, both = torch.stack(results).sum(0).double()
        union = found + label - both
        occurs = union > 0
        return dict(
            mean=100 * (both[occurs] / union[occurs]).mean().item(), pixels=100 * (both.sum() / label.sum()).item()
        )
