"""How far the confidence of a classifier can be trusted, and how likely it holds the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import METRICS

from .functional import expected_calibration_error
from .per_sample import PerSampleMetric


@METRICS.register_module()
class CalibrationError(PerSampleMetric):
    """Expected calibration error as ``calibration/ece``, a number from 0 to 1, of predicted probabilities.

    Args:
        bins: Number of bins of equal width.
        prefix: Replaces ``'calibration'`` in the key.

    Raises:
        InputError: Fewer than one bin, or scores that are no probabilities.
    """

    default_prefix = 'calibration'

    def __init__(self, bins: int = 15, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        if bins < 1:
            raise InputError(f'CalibrationError: bins must be 1 or more, not {bins}.')
        self.bins = bins

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """Confidence, whether it was right, and the sum of the scores, ``(N, 3)``."""
        confidence, predicted = scores.max(1)
        return torch.stack([confidence, (predicted == target).float(), scores.sum(1)], dim=1)

    def summarize(self, rows: Tensor) -> dict[str, float]:
        """``ece``, from 0 to 1."""
        confidence, correct, total = rows.unbind(1)
        if ((total - 1).abs() > 0.02).any():  # bf16 probabilities of 1,000 classes may be that far off
            raise InputError(
                'CalibrationError: pred_score must be probabilities, but the scores of a sample sum to '
                f'{total.min():.4g} to {total.max():.4g}, not to 1: are they logits?'
            )
        return dict(ece=expected_calibration_error(confidence, correct, bins=self.bins))


@METRICS.register_module()
class NegativeLogLikelihood(PerSampleMetric):
    """Mean of ``-log p`` of the true class as ``likelihood/nll``, in nats, of predicted probabilities.

    A probability that was rounded to 0 counts as the smallest normal fp32 number (87.3 nats).

    Args:
        prefix: Replaces ``'likelihood'`` in the key.
    """

    default_prefix = 'likelihood'

    def __init__(self, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """``-log p`` of the true class, ``(N, 1)``."""
        return -scores.gather(1, target[:, None]).clamp_min(torch.finfo(torch.float32).tiny).log()

    def summarize(self, rows: Tensor) -> dict[str, float]:
        """``nll`` in nats."""
        return dict(nll=rows.double().mean().item())
