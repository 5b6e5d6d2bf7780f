"""Class-balanced subsets that do not depend on the order of the files, on a global seed or on a library's version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from crld_zoo.errors import InputError

UNLABELED = -1
"""The label of an image that has none."""


def check_labels(labels: np.ndarray, classes: Sequence[str]) -> None:
    """Check that integer labels ``(M,)`` are classes or -1.

    Raises:
        InputError: Fewer than two classes, a label outside of them.

    Example:
        >>> import numpy as np
        >>> check_labels(np.array([0, 1, -1]), ['cat', 'dog'])
    """
    if len(classes) < 2:
        raise InputError(f'the dataset has {len(classes)} classes, and a classifier needs two or more.')
    wrong = labels[(labels < UNLABELED) | (labels >= len(classes))]
    if len(wrong):
        raise InputError(
            f'label {wrong[0]} lies outside the {len(classes)} classes (0 to {len(classes) - 1}; {UNLABELED} is '
            'unlabeled).'
        )


def reduce_labels(
    labels: np.ndarray,
    keys: Iterable[bytes],
    classes: Sequence[str],
    *,
    labels_per_class: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
    others: str = 'drop',
) -> tuple[np.ndarray, np.ndarray]:
    """What is left of a data set of which a class-balanced subset keeps its labels.

    Images that had no label before stay.

    Args:
        labels: Integers ``(M,)``; -1 is unlabeled.
        keys: As in :func:`balanced_subset`.
        classes: The class names.
        labels_per_class: As in :func:`balanced_subset`, or 0, which keeps no label, where the others stay unlabeled.
        fraction: As in :func:`balanced_subset`. None here and above keeps all.
        seed: As in :func:`balanced_subset`.
        others: What becomes of the other images: ``'drop'`` leaves them out, ``'unlabeled'`` keeps them without label.

    Returns:
        Indices of the images that stay, ascending ``(M',)``, and their labels ``(M',)``.

    Raises:
        InputError: An unknown ``others``, or one without a subset, and what :func:`balanced_subset` refuses.

    >>> labels, keys = np.array([0, 0, 1, 1, -1]), [b'a', b'b', b'c', b'd', b'e']
    >>> keep, labels = reduce_labels(labels, keys, ['x', 'y'], labels_per_class=1, others='unlabeled')
    >>> keep.tolist(), sorted(labels.tolist())
    ([0, 1, 2, 3, 4], [-1, -1, -1, 0, 1])
    """
    if others not in ('drop', 'unlabeled'):
        raise InputError(f"others must be 'drop' or 'unlabeled', not {others!r}.")
    if labels_per_class is None and fraction is None:
        if others != 'drop':
            raise InputError(f"others='{others}' goes with a subset: give labels_per_class or fraction.")
        return np.arange(len(labels)), labels
    if others == 'unlabeled' and labels_per_class == 0 and fraction is None:
        chosen = np.empty(0, dtype=np.int64)
    else:
        chosen = balanced_subset(labels, keys, classes, labels_per_class=labels_per_class, fraction=fraction, seed=seed)
    left = np.full_like(labels, UNLABELED)
    left[chosen] = labels[chosen]
    kept = np.arange(len(labels)) if others == 'unlabeled' else np.union1d(chosen, np.flatnonzero(labels == UNLABELED))
    return kept, left[kept]


def balanced_subset(
    labels: np.ndarray,
    keys: Iterable[bytes],
    classes: Sequence[str],
    *,
    labels_per_class: int | None = None,
    fraction: float | None = None,
    seed: int,
) -> np.ndarray:
    """Indices of a class-balanced subset, in ascending order.

    Of each class the images with the lowest keyed hash (BLAKE2b of the image's key under ``seed``) are kept. The
    choice is thus a property of the images alone, and smaller subsets are parts of larger ones under the same seed.

    Args:
        labels: Integers ``(M,)``.
        keys: What identifies each image, ``M`` of them: its bytes or its relative path.
        classes: The class names.
        labels_per_class: Images to keep of each class.
        fraction: Share of each class to keep, above 0 and up to 1, rounded to whole images.
        seed: Any integer.

    Raises:
        InputError: Both or neither of the two sizes, a size out of range, a class with too few images.

    >>> labels = np.array([0, 0, 0, 1, 1])
    >>> keep = balanced_subset(labels, [b'a', b'b', b'c', b'd', b'e'], ['x', 'y'], labels_per_class=1, seed=0)
    >>> labels[keep].tolist()
    [0, 1]
    """
    if (labels_per_class is None) == (fraction is None):
        raise InputError('a subset is given by labels_per_class or by fraction, one of the two.')
    if labels_per_class is not None and (labels_per_class != int(labels_per_class) or labels_per_class < 1):
        raise InputError(f'labels_per_class must be a whole number above 0, not {labels_per_class}.')
    if fraction is not None and not 0 < fraction <= 1:
        raise InputError(f'fraction must lie above 0 and be at most 1, not {fraction}.')
    salt = hashlib.blake2b(str(seed).encode(), digest_size=32).digest()
    order = np.array(
        [int.from_bytes(hashlib.blake2b(key, digest_size=8, key=salt).digest(), 'big') for key in keys], dtype=np.uint64
    )
    kept = []
    for label, name in enumerate(classes):
        members = np.flatnonzero(labels == label)
        count = int(labels_per_class or 0) if fraction is None else round(fraction * len(members))
        if count > len(members):
            raise InputError(f"class '{name}' has {len(members)} images, fewer than labels_per_class={count}.")
        if not count:
            raise InputError(f"fraction={fraction} keeps no image of class '{name}', which has {len(members)}.")
        kept.append(members[np.argsort(order[members], kind='stable')[:count]])
    return np.sort(np.concatenate(kept))
