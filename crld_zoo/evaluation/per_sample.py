"""What the zoo's metrics share: a few numbers per sample, exact over any number of processes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from torch import Tensor

from crld_zoo.errors import InputError

from .predictions import scores_and_labels


class PerSampleMetric(BaseMetric):
    """A metric that keeps a small row of numbers per sample and averages at the end.

    It takes predictions as mmpretrain's metrics do, one mapping per sample with ``pred_score (K,)`` and ``gt_label``,
    and works on the whole batch; those of the zoo's model are not taken apart for it
    (:class:`~crld_zoo.evaluation.predictions.BatchPrediction`). The rows stay on the device of the scores until the
    pass is over, so that a batch costs no transfer and no wait.

    Several processes exchange their rows through the process group: MMEngine's way writes files into the current
    directory, which they must share then, and is made for one entry per sample.
    """

    @abstractmethod
    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """The numbers to keep: from fp32 scores ``(N, K)`` and labels ``(N,)`` to fp32 ``(N, C)``."""

    @abstractmethod
    def summarize(self, rows: Tensor) -> dict[str, Any]:
        """The metrics from the rows ``(M, C)`` of the whole data set."""

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep one batch's rows.

        Args:
            data_batch: Not used.
            data_samples: One mapping per sample.

        Raises:
            InputError: What :func:`~crld_zoo.evaluation.predictions.scores_and_labels` refuses.
        """
        if not data_samples:
            return
        try:
            scores, target = scores_and_labels(data_samples)
        except InputError as error:
            raise InputError(f'{type(self).__name__}: {error}') from None
        rows = self.rows(scores.float(), target.clamp_min(0))
        # which have no label is looked at in the end, by all processes: here it would be a wait for the device
        self.results.append(torch.cat([(target < 0)[:, None].to(rows), rows], dim=1))

    @property
    def dataset_meta(self) -> dict | None:
        """What the Runner says of the data before it trains."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict | None) -> None:
        self._dataset_meta = dataset_meta
        if dataset_meta and dataset_meta.get('classes'):
            self.check_classes(len(dataset_meta['classes']))

    def check_classes(self, count: int) -> None:
        """Look at the number of classes of the data, where the metric has something to say of it."""

    def evaluate(self, size: int) -> dict[str, Any]:
        """The metrics of the whole pass over ``size`` samples, the same on every process.

        Raises:
            InputError: No process was given a sample, or a sample has no label.
        """
        own = torch.cat(self.results).cpu().numpy() if self.results else None
        self.results.clear()
        metrics = self.compute_metrics([_in_order(all_gather_object(own), type(self).__name__)[:size]])
        return {f'{self.prefix}/{key}' if self.prefix else key: value for key, value in metrics.items()}

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, Any]:
        """The metrics from rows ``(M, 1 + C)``, in one part or several; the first column marks those without label."""
        rows = torch.from_numpy(np.concatenate(results))
        if rows[:, 0].any():
            raise InputError(
                f'{type(self).__name__}: {int(rows[:, 0].sum())} of {len(rows)} images to evaluate on have no label '
                '(-1): only a training set may hold such.'
            )
        return self.summarize(rows[:, 1:])


def _in_order(shares: list[np.ndarray | None], metric: str) -> np.ndarray:
    """The rows of all processes in the order of the data set, from which MMEngine's samplers deal in turn; those that
    were dealt again to even the shares out come last."""
    dealt = {rank: rows for rank, rows in enumerate(shares) if rows is not None}
    if not dealt:
        raise InputError(f'{metric}: the data set to evaluate on gave no sample.')
    places = [rank + len(shares) * np.arange(len(rows)) for rank, rows in dealt.items()]
    return np.concatenate(list(dealt.values()))[np.argsort(np.concatenate(places))]
