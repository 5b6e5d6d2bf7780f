"""What is taken for what, and how that changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Change(NamedTuple):
    """One confusion under a row and under the baseline.

    Attributes:
        true: The class of the images.
        taken_for: The class that was predicted.
        before: How many images a seed, the mean over the baseline's seeds.
        after: The same of the row.
        images: The numbers of test images that changed most, the clearest first.
    """

    true: int
    taken_for: int
    before: float
    after: float
    images: tuple[int, ...]


def confusion_changes(
    before: np.ndarray, after: np.ndarray, labels: np.ndarray, *, classes: int, pairs: int, images: int
) -> list[Change]:
    """The confusions whose mean count over the seeds changed most, losses and gains alike.

    Args:
        before: Predicted classes under the baseline, ``(seeds, M)``.
        after: Those under the row, ``(seeds, M)``; the numbers of seeds may differ.
        labels: The true classes, ``(M,)``.
        classes: How many there are.
        pairs: How many to give at most.
        images: How many images of each at most: those for which the share of seeds that confuse them so changed most
            in the direction of the pair.

    Returns:
        The largest change first; pairs without a change are left out.

    >>> labels = np.array([0, 0, 1])
    >>> confusion_changes(np.array([[1, 1, 1]]), np.array([[0, 1, 1]]), labels, classes=2, pairs=3, images=2)
    [Change(true=0, taken_for=1, before=2.0, after=1.0, images=(0,))]
    """
    counts = [_mean_confusions(predicted, labels, classes) for predicted in (before, after)]
    change = counts[1] - counts[0]
    np.fill_diagonal(change, 0)
    largest = np.argsort(-np.abs(change), axis=None, kind='stable')[:pairs]
    found = []
    for true, taken in zip(*np.unravel_index(largest, change.shape), strict=True):
        if change[true, taken] == 0:
            break
        share = (after == taken).mean(0) - (before == taken).mean(0)
        share = np.where(labels == true, share * np.sign(change[true, taken]), 0)
        order = np.argsort(-share, kind='stable')[:images]
        found.append(
            Change(
                int(true),
                int(taken),
                float(counts[0][true, taken]),
                float(counts[1][true, taken]),
                tuple(int(number) for number in order if share[number] > 0),
            )
        )
    return found


def _mean_confusions(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    cells = labels * classes + predicted
    return np.bincount(cells.ravel(), minlength=classes**2).reshape(classes, classes) / len(predicted)


def class_accuracy(predicted: Sequence[np.ndarray], labels: np.ndarray, classes: int) -> np.ndarray:
    """Accuracy of each class in percent, the mean over the seeds, ``(K,)``; NaN where a class has no image.

    >>> class_accuracy([np.array([0, 1]), np.array([0, 0])], np.array([0, 1]), 3).tolist()
    [100.0, 50.0, nan]
    """
    right = np.mean([np.bincount(labels[own == labels], minlength=classes) for own in predicted], axis=0)
    count = np.bincount(labels, minlength=classes)
    return np.where(count, 100 * right / np.maximum(count, 1), np.nan)
