"""Class-balanced subsets that do not depend on the order of the files, on a global seed or on a library's version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from crld_zoo.errors import InputError


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
        count = labels_per_class if fraction is None else round(fraction * len(members))
        if count > len(members):
            raise InputError(f"class '{name}' has {len(members)} images, fewer than labels_per_class={count}.")
        if not count:
            raise InputError(f"fraction={fraction} keeps no image of class '{name}', which has {len(members)}.")
        kept.append(members[np.argsort(order[members], kind='stable')[:count]])
    return np.sort(np.concatenate(kept))
