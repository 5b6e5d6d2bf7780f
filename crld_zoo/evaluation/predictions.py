"""The predictions of a batch, at once and image by image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from crld_zoo.errors import InputError


class BatchPrediction:
    """What a model predicts for a batch whose labels came as one tensor.

    A metric of the zoo takes the tensors whole. Everything else of MMEngine's and mmpretrain's that looks at
    predictions (metrics, ``DumpResults``, ``VisualizationHook``) takes them image by image from :meth:`samples`; the
    batch is copied to the CPU once, when the first image is asked for.

    Args:
        scores: Class probabilities ``(N, K)``.
        target: Class indices ``(N,)``.
        numbers: The images' numbers in their dataset, ``(N,)``, where they are known.
    """

    def __init__(self, scores: Tensor, target: Tensor, numbers: Tensor | None = None) -> None:
        self.scores = scores
        self.target = target
        self.numbers = numbers

    def samples(self) -> list[Sample]:
        """One prediction an image, ``N`` of them."""
        return [Sample(self, index) for index in range(len(self.scores))]

    @cached_property
    def columns(self) -> dict[str, Tensor]:
        """mmpretrain's names and their values on the CPU, one row an image."""
        columns = dict(
            pred_score=self.scores.cpu(),
            pred_label=self.scores.argmax(1, True).cpu(),
            gt_label=self.target[:, None].cpu(),
        )
        return columns if self.numbers is None else columns | dict(sample_idx=self.numbers.cpu())


class Sample(Mapping):
    """The prediction of one image of a batch, a mapping with the names of mmpretrain's ``DataSample``.

    ``pred_score (K,)``, ``pred_label (1,)``, ``gt_label (1,)`` and, where the batch knows it, ``sample_idx``, the
    number of the image in its dataset. They are attributes as well. It is pickled as a plain dict.
    """

    __slots__ = ('batch', 'index')

    def __init__(self, batch: BatchPrediction, index: int) -> None:
        self.batch, self.index = batch, index

    def __getitem__(self, name: str):
        row = self.batch.columns[name][self.index]
        return int(row) if name == 'sample_idx' else row.clone()  # a view would be pickled with its whole batch

    def __iter__(self) -> Iterator[str]:
        return iter(self.batch.columns)

    def __len__(self) -> int:
        return len(self.batch.columns)

    def __getattr__(self, name: str):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self):
        return dict, (dict(self),)


def scores_and_labels(samples: Sequence[Mapping]) -> tuple[Tensor, Tensor]:
    """The predictions of a batch as scores ``(N, K)`` and labels ``(N,)``, on the device of the scores.

    Args:
        samples: One mapping an image, with ``pred_score (K,)`` and ``gt_label``.

    Raises:
        InputError: Predictions without scores or labels, or with more than one label an image.

    Example:
        >>> import torch
        >>> scores_and_labels([dict(pred_score=torch.tensor([0.2, 0.8]), gt_label=torch.tensor([1]))])
        (tensor([[0.2000, 0.8000]]), tensor([1]))
    """
    first = samples[0]
    if isinstance(first, Sample):
        batch, count = first.batch, len(first.batch.scores)
        own = [sample for sample in samples if isinstance(sample, Sample) and sample.batch is batch]
        if len(own) == len(samples) and [sample.index for sample in own] == list(range(count)):
            return batch.scores, batch.target.to(batch.scores.device)
    for name in ('pred_score', 'gt_label'):
        if name not in first:
            raise InputError(f'the predictions hold no {name}.')
    scores = torch.stack([sample['pred_score'] for sample in samples])
    target = torch.cat([sample['gt_label'].reshape(-1) for sample in samples]).to(scores.device)
    if scores.ndim != 2 or len(scores) != len(target):
        raise InputError(
            'each prediction needs its scores (K,) and one label, but there are scores of shape '
            f'{tuple(scores.shape[1:])} and {len(target)} labels for {len(scores)} predictions.'
        )
    return scores, target
