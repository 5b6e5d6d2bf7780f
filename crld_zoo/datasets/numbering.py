"""The number of each sample, by which its random numbers, its table entries and its kept predictions go."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch


def numbers_of(dataset: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """What tells the samples of a data set apart, however it was reduced, joined or repeated.

    A sample's number is its index in the split before any reduction to a subset. Sets that are concatenated are
    numbered one after the other; samples that a wrapper repeats keep their number and are copies of each other. The
    zoo's sets and mmengine's know their reductions, and MMEngine's and PyTorch's wrappers are understood; another set
    that is a part of a larger one says so by attributes ``numbers``, integers ``(M,)``, and ``split_size``. Else the
    number is the index.

    Args:
        dataset: ``M`` samples: a data set of PyTorch or of MMEngine, or a wrapper of one.

    Returns:
        The number of each sample and which copy of it stands there, from 0, both int64 ``(M,)``; and how many numbers
        there can be.

    Example:
        >>> data = torch.utils.data.TensorDataset(torch.zeros(4))
        >>> part = torch.utils.data.Subset(data, [1, 3])
        >>> numbers_of(torch.utils.data.ConcatDataset([part, data]))[0].tolist()
        [1, 3, 4, 5, 6, 7]
    """
    own = vars(dataset)  # a wrapper may pass every other attribute on
    if 'datasets' in own:
        parts = [numbers_of(part) for part in dataset.datasets]
        starts = np.cumsum([0, *(size for _, _, size in parts)])
        shifted = [numbers + start for (numbers, _, _), start in zip(parts, starts, strict=False)]
        return np.concatenate(shifted), np.concatenate([copies for _, copies, _ in parts]), int(starts[-1])
    if isinstance(dataset, torch.utils.data.Subset):
        return _repeated(dataset.dataset, list(dataset.indices))
    if 'repeat_indices' in own:
        return _repeated(dataset.dataset, dataset.repeat_indices)
    if 'times' in own:
        return _repeated(dataset.dataset, np.tile(np.arange(len(dataset.dataset)), dataset.times))
    if own.get('numbers') is not None:
        numbers = np.asarray(own['numbers'], dtype=np.int64)
        return numbers, np.zeros_like(numbers), own.get('split_size', int(numbers.max(initial=-1)) + 1)
    if own.get('_indices') is not None:  # of mmengine's BaseDataset: the first ones, the last ones, or a list
        whole = copy.copy(dataset)
        whole._indices, whole._fully_initialized = None, False
        whole.full_init()
        reduction, numbers = dataset._indices, np.arange(len(whole))
        if isinstance(reduction, int):
            reduction = slice(reduction) if reduction >= 0 else slice(reduction, None)
        return numbers[reduction], np.zeros_like(numbers[reduction]), len(whole)
    inner = own.get('dataset')
    if '_ori_indices' in own and vars(inner).get('numbers') is None:  # KFoldDataset holds the fold alone
        numbers = np.asarray(dataset._ori_indices, dtype=np.int64)
        return numbers, np.zeros_like(numbers), int(numbers.max(initial=-1)) + 1
    if inner is not None and len(inner) == len(dataset):
        return numbers_of(inner)
    numbers = np.arange(len(dataset))
    return numbers, np.zeros_like(numbers), len(numbers)


def _repeated(dataset: Any, indices) -> tuple[np.ndarray, np.ndarray, int]:
    """The numbering of samples that are taken from a set by index, perhaps several times."""
    numbers, copies, size = numbers_of(dataset)
    indices = np.asarray(indices, dtype=np.int64)
    order = np.argsort(indices, kind='stable')
    occurrence = np.empty_like(indices)
    occurrence[order] = np.arange(len(indices)) - np.searchsorted(indices[order], indices[order])
    return numbers[indices], copies[indices] + occurrence * (int(copies.max(initial=0)) + 1), size
