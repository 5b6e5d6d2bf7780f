"""The labels of any dataset."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from crld_zoo.errors import InputError


def labels_of(dataset: Dataset) -> np.ndarray:
    """The labels of a dataset without reading an image: int64 ``(M,)``, -1 where an image has none.

    The zoo's datasets and mmpretrain's tell them, and so do MMEngine's and PyTorch's wrappers around them.

    Raises:
        InputError: A dataset that does not tell its labels.
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
    raise InputError(f'{type(dataset).__name__} does not tell its labels: give it a method get_gt_labels.')
