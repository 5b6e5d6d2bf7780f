"""How far the confidence of a classifier can be trusted."""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import METRICS

from .per_sample import PerSampleMetric


def expected_calibration_error(confidence: Tensor, correct: Tensor, *, bins: int) -> float:
    r"""Expected calibration error, from 0 (calibrated) to 1.

    .. math::
        \mathrm{ECE} = \sum_{m=1}^{M} \frac{|B_m|}{n}\, \bigl|\mathrm{acc}(B_m) - \mathrm{conf}(B_m)\bigr|

    with ``M`` bins of equal width, :math:`B_m` the samples whose confidence lies in :math:`((m-1)/M, m/M]`
    (`Guo et al., On Calibration of Modern Neural Networks, 2017 <https://arxiv.org/abs/1706.04599>`_, equation 3).

    Args:
        confidence: Highest probability of each sample, ``(n,)``.
        correct: Whether that prediction was right, ``(n,)``.
        bins: ``M``.

    >>> expected_calibration_error(torch.tensor([0.75, 0.75]), torch.tensor([True, False]), bins=15)
    0.25
    """
    confidence, correct = confidence.double(), correct.double()
    # A bin is closed on the right, as bucketize has it between the inner edges.
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.double, device=confidence.device)[1:-1]
    gaps = torch.zeros(bins, dtype=torch.double, device=confidence.device)
    gaps.index_add_(0, torch.bucketize(confidence, edges), correct - confidence)
    return (gaps.abs().sum() / len(confidence)).item()


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
