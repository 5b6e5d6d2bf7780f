"""What the zoo's metrics share: a few numbers per sample, exact over any number of processes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from torch import Tensor

from crld_zoo.errors import InputError


class PerSampleMetric(BaseMetric):
    """A metric that keeps a small row of numbers per sample and averages at the end.

    It takes mmpretrain's predictions (one mapping per sample, with ``pred_score (K,)`` and ``gt_label``) and the
    zoo's batch records, ``[dict(pred_score=(N, K), gt_label=(N,))]``, and works on whole batches either way. The rows
    stay on the device of the scores until the pass is over, so that a batch costs no transfer and no wait.

    Several processes exchange their rows through the process group: MMEngine's way writes files into the current
    directory, which they must share then, and is made for one entry per sample.
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
            raise InputError(
                f'{type(self).__name__}: each sample needs one label, but there are {len(target)} labels '
                f'for {len(scores)} predictions.'
            )
        self.results.append(self.rows(scores, target))

    def evaluate(self, size: int) -> dict[str, float]:
        """The metrics of the whole pass over ``size`` samples, the same on every process.

        Raises:
            InputError: No process was given a sample.
        """
        own = torch.cat(self.results).cpu().numpy() if self.results else None
        self.results.clear()
        metrics = self.compute_metrics([_in_order(all_gather_object(own), type(self).__name__)[:size]])
        return {f'{self.prefix}/{key}' if self.prefix else key: value for key, value in metrics.items()}

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float]:
        """The metrics from rows ``(M, C)``, in one part or several."""
        return self.summarize(torch.from_numpy(np.concatenate(results)))


def _in_order(shares: list[np.ndarray | None], metric: str) -> np.ndarray:
    """The rows of all processes in the order of the data set, from which MMEngine's samplers deal in turn; those that
    were dealt again to even the shares out come last."""
    dealt = {rank: rows for rank, rows in enumerate(shares) if rows is not None}
    if not dealt:
        raise InputError(f'{metric}: the data set to evaluate on gave no sample.')
    places = [rank + len(shares) * np.arange(len(rows)) for rank, rows in dealt.items()]
    return np.concatenate(list(dealt.values()))[np.argsort(np.concatenate(places))]
