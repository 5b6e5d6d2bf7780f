"""The labels of any dataset."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from crld_zoo.errors import InputError

from .subset import UNLABELED


class UnknownLabelsError(InputError):
    """A dataset does not tell its labels."""


def labels_of(dataset: Dataset) -> np.ndarray:
    """The labels of a dataset without reading an image: int64 ``(M,)``, -1 where an image has none.

    The zoo's datasets and mmpretrain's tell them, and so do MMEngine's and PyTorch's wrappers around them.

    Raises:
        UnknownLabelsError: A dataset that does not tell its labels.
    """
    own = vars(dataset)  # a wrapper may pass every other attribute on
    if 'datasets' in own:
        return np.concatenate([labels_of(part) for part in dataset.datasets])
    if isinstance(dataset, torch.utils.data.Subset):
        return labels_of(dataset.dataset)[list(dataset.indices)]
    if 'repeat_indices' in own:
        return labels_of(dataset.dataset)[dataset.repeat_indices]
    if 'times' in own:
        return np.tile(labels_of(dataset.dataset), dataset.times)
    if isinstance(own.get('labels'), Tensor):
        return dataset.labels.cpu().numpy()
    if hasattr(dataset, 'get_gt_labels'):
        return np.asarray(dataset.get_gt_labels(), dtype=np.int64)
    if 'dataset' in own:
        return labels_of(dataset.dataset)
    raise UnknownLabelsError(f'{type(dataset).__name__} does not tell its labels: give it a method get_gt_labels.')


def numbers_of(dataset: Dataset) -> tuple[Tensor, Tensor, int]:
    """Which sample each index of a dataset is.

    A sample's number is its index in the whole split, whatever part of it a dataset keeps; joined datasets count on.
    An image that a wrapper repeats keeps its number and has numbered copies.

    Returns:
        Sample numbers and copies, int64 ``(M,)`` each, and how many numbers there can be.
    """
    own = vars(dataset)
    if 'datasets' in own:
        parts = [numbers_of(part) for part in dataset.datasets]
        sizes = torch.tensor([0, *(size for *_, size in parts)]).cumsum(0).tolist()
        numbers = torch.cat([number + start for (number, *_), start in zip(parts, sizes, strict=False)])
        return numbers, torch.cat([copies for _, copies, _ in parts]), sizes[-1]
    if isinstance(dataset, torch.utils.data.Subset):
        return _repeated(dataset.dataset, torch.as_tensor(list(dataset.indices)))
    if 'repeat_indices' in own:
        return _repeated(dataset.dataset, torch.as_tensor(dataset.repeat_indices))
    if 'times' in own:
        return _repeated(dataset.dataset, torch.arange(len(dataset.dataset)).repeat(dataset.times))
    if isinstance(own.get('numbers'), Tensor):
        return dataset.numbers, torch.zeros_like(dataset.numbers), dataset.split_size
    if 'dataset' in own:
        return numbers_of(dataset.dataset)
    numbers = torch.arange(len(dataset))
    return numbers, torch.zeros_like(numbers), len(dataset)


def _repeated(dataset: Dataset, indices: Tensor) -> tuple[Tensor, Tensor, int]:
    numbers, copies, size = numbers_of(dataset)
    order = indices.argsort(stable=True)
    ordered = indices[order]
    first = torch.searchsorted(ordered, ordered)  # of each run of one index
    again = torch.empty_like(indices)
    again[order] = torch.arange(len(indices)) - first
    most = int(copies.max()) + 1 if len(copies) else 1
    return numbers[indices], again * most + copies[indices], size


def check_labeled(dataset: Dataset, name: str) -> None:
    """Check that every image of a dataset to evaluate on has a label; one that does not tell its labels passes.

    Args:
        dataset: The dataset.
        name: What it is called in the error.

    Raises:
        InputError: There are images without label.
    """
    try:
        missing = int((labels_of(dataset) == UNLABELED).sum())
    except (UnknownLabelsError, KeyError):  # mmpretrain's test sets without annotations have no gt_label
        return
    if missing:
        raise InputError(
            f'{name}: {missing} of {len(dataset)} images have no label (-1), and only a training set may hold such.'
        )
