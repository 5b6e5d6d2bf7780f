"""What the zoo's metrics share: a few numbers per sample, exact over any number of processes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ..errors import InputError


class PerSampleMetric(BaseMetric):
    """A metric that keeps a small row of numbers per sample and averages at the end.

    It takes mmpretrain's predictions (one mapping per sample, with ``pred_score (K,)`` and ``gt_label``) and the
    zoo's batch records, ``[dict(pred_score=(N, K), gt_label=(N,))]``, and works on whole batches either way. The rows
    stay on the device of the scores until the pass is over, so that a batch costs no transfer and no wait.

    MMEngine gathers the results of several processes entry by entry, in the order in which its samplers dealt the
    samples, and cuts what was padded to even the shares out. That is right for one entry per sample only, so the
    batches are taken apart before the exchange.
    """

    @abstractmethod
    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """The numbers to keep: from fp32 scores ``(N, K)`` and labels ``(N,)`` to fp32 ``(N, C)``."""

    @abstractmethod
    def summarize(self, rows: Tensor) -> dict[str, float]:
        """The metrics from the rows ``(M, C)`` of the whole data set."""

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep one batch's rows.

        Args:
            data_batch: Not used.
            data_samples: One mapping per sample, or one batch record.

        Raises:
            InputError: Predictions without scores or labels, or with another number of labels than of scores.
        """
        if not data_samples:
            return
        for name in ('pred_score', 'gt_label'):
            if name not in data_samples[0]:
                raise InputError(f'{type(self).__name__}: the predictions hold no {name}.')
        join = torch.stack if data_samples[0]['pred_score'].ndim == 1 else torch.cat
        scores = join([sample['pred_score'] for sample in data_samples]).float()
        target = torch.cat([sample['gt_label'] for sample in data_samples]).to(scores.device)
        if len(scores) != len(target):
            raise InputError(f'{type(self).__name__}: each sample needs one label, but there are {len(target)} labels '
                             f'for {len(scores)} predictions.')
        self.results.append(self.rows(scores, target))

    def evaluate(self, size: int) -> dict[str, float]:
        """The metrics of the whole pass over ``size`` samples, the same on every process."""
        if self.results:
            rows = torch.cat(self.results).cpu().numpy()
            self.results = [rows[:size]] if get_world_size() == 1 else list(rows)
        return super().evaluate(size)

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float]:
        """The metrics from all rows at once ``(M, C)``, or from one entry ``(C,)`` per sample."""
        return self.summarize(torch.from_numpy(np.vstack(results)))
