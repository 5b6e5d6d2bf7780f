"""The labels of any dataset."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crld_zoo.errors import InputError

from .subset import UNLABELED


class UnknownLabelsError(InputError):
    """A dataset does not tell its labels."""


def labels_of(dataset: Any) -> np.ndarray:
    """The labels of a dataset without reading an image: int64 ``(M,)``, -1 where an image has none.

    The zoo's datasets and mmpretrain's tell them, and so do MMEngine's and PyTorch's wrappers around them.

    Raises:
        UnknownLabelsError: A dataset that does not tell its labels.

    Example:
        >>> from crld_zoo.datasets import SyntheticImages
        >>> labels_of(SyntheticImages(num_images=4, num_classes=2, size=8)).shape
        (4,)
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


def has_labels(dataset: Any) -> bool:
    """Whether any image of a dataset has a label; where that takes long to say of all, it looks until it finds one.

    Raises:
        UnknownLabelsError: A dataset that does not tell its labels.
    """
    if hasattr(type(dataset), 'get_cat_ids') and not isinstance(vars(dataset).get('labels'), Tensor):
        with contextlib.suppress(NotImplementedError):
            return any(UNLABELED not in dataset.get_cat_ids(index) for index in range(len(dataset)))
    return bool((labels_of(dataset) != UNLABELED).any())


def check_labeled(dataset: Any, name: str) -> None:
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
