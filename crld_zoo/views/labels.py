"""The labels of a batch, in one form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from crld_zoo.errors import InputError

UNLABELED = -1
_TOLERANCE = 1e-2  # of a sum of probabilities: mixed labels may come in half precision


def targets(data_samples: Tensor | Sequence, *, unlabeled: bool = False) -> Tensor:
    """The labels of a batch as one tensor, of whatever form they come in.

    Values are checked on the CPU alone: on a GPU that would wait for it, and what lies there was checked as a data set.

    Args:
        data_samples: Class indices ``(N,)``, or those of each pixel ``(N, H, W)``; class probabilities ``(N, K)``; or
            ``N`` of mmpretrain's ``DataSample``, all with one ``gt_label`` each, or all with a ``gt_score`` ``(K,)``,
            as Mixup and CutMix make it.
        unlabeled: Whether -1 may stand where an image has no label, as in training.

    Returns:
        Class indices int64 ``(N,)`` or ``(N, H, W)``, or class probabilities float ``(N, K)`` whose rows sum to 1.

    Raises:
        InputError: Not exactly one label an image, or probabilities that are none.

    Example:
        >>> targets(torch.tensor([2, 0], dtype=torch.uint8))
        tensor([2, 0])
        >>> targets(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
        tensor([[0.5000, 0.5000],
                [1.0000, 0.0000]])
    """
    labels = data_samples if isinstance(data_samples, Tensor) else _stacked(data_samples)
    on_cpu = labels.device.type == 'cpu'
    if labels.is_floating_point():
        if labels.ndim != 2 or labels.shape[1] < 2:
            raise InputError(
                f'labels must be class indices (N,) or class probabilities (N, K), but they are {_form(labels)}.'
            )
        if on_cpu and not ((labels >= 0).all() and ((labels.sum(1) - 1).abs() <= _TOLERANCE).all()):
            raise InputError('labels given as class probabilities must be 0 or more and sum to 1 for each image.')
        return labels
    if labels.ndim not in (1, 3) or labels.dtype == torch.bool or labels.is_complex():
        raise InputError(
            'labels must be class indices (N,), one an image, or (N, H, W), one a pixel, but they are '
            f'{_form(labels)}: give the index of the class, or probabilities in floating point.'
        )
    if on_cpu and len(labels) and (low := int(labels.min())) < 0 and not (unlabeled and low == UNLABELED):
        raise InputError(
            f'label {low} is no class: labels count from 0'
            + (', and -1 says that a training image has none.' if unlabeled else '; only training images may lack one.')
        )
    return labels.long()


def _form(labels: Tensor) -> str:
    return f'{str(labels.dtype).removeprefix("torch.")} of shape {tuple(labels.shape)}'


def _stacked(samples: Sequence) -> Tensor:
    """The labels of mmpretrain's data samples: one row an image, as they are."""
    if not all(hasattr(sample, 'get') for sample in samples):
        raise InputError(
            f'labels are one tensor or data samples, but they are a {type(samples).__name__} of '
            f'{type(samples[0]).__name__}: make a tensor of them.'
        )
    for name in ('gt_score', 'gt_label'):
        if any(name in sample for sample in samples):
            rows = [torch.as_tensor(sample.get(name, [])).reshape(-1) for sample in samples]
            lengths = {len(row) for row in rows}
            if len(lengths) > 1 or 0 in lengths or (name == 'gt_label' and lengths != {1}):
                raise InputError(
                    f'each image needs one label, but {name} of the batch has {", ".join(map(str, sorted(lengths)))} '
                    'entries an image: data of several or no labels an image cannot be distilled here.'
                )
            return torch.stack(rows) if name == 'gt_score' else torch.cat(rows)
    raise InputError('the samples of the batch hold no label: gt_label or gt_score is needed.')
