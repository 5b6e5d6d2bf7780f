"""Image files decoded once into memory: what the data sets made of single files share."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from PIL import Image, ImageOps
from rich.progress import track
from torch import Tensor

from crld_zoo.errors import InputError

from .in_memory import InMemoryDataset
from .memory import available_memory
from .scan import printable, readable_name
from .subset import UNLABELED, check_labels, reduce_labels

_LONG_WORK = 5000
"""Images from which on decoding takes long enough for a progress bar."""


class ImageFiles(InMemoryDataset):
    """A list of image files, decoded by several threads into one tensor.

    Grey, palette and transparent images become RGB (transparency is dropped), a camera's orientation tag is obeyed.
    A subset is chosen by the files' paths before anything is decoded, so only its images cost time and memory.

    Args:
        root: Folder of the files.
        files: Paths relative to ``root``, ``M`` of them.
        labels: The class of each file; -1 where it has none.
        classes: The class names.
        size: Side of the square images.
        resize: ``'crop'`` scales the shorter side to ``size`` and cuts the center out; ``'squash'`` scales both sides.
            Both are bilinear, with antialiasing.
        broken: What happens to a file that cannot be read: ``'raise'`` stops, ``'skip'`` leaves it out, with a warning
            that counts and names such files. A class-balanced subset is never left incomplete.
        labels_per_class: As in :class:`InMemoryDataset`.
        fraction: As in :class:`InMemoryDataset`.
        others: As in :class:`InMemoryDataset`.
        subset_seed: As in :class:`InMemoryDataset`.
        device: As in :class:`InMemoryDataset`.

    Raises:
        InputError: An unreadable file, an empty class, more images than the memory holds, an impossible option.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        files: Sequence[str],
        labels: Sequence[int],
        classes: Sequence[str],
        *,
        size: int,
        resize: str = 'crop',
        broken: str = 'raise',
        labels_per_class: int | None = None,
        fraction: float | None = None,
        others: str = 'drop',
        subset_seed: int = 0,
        device: str = 'cpu',
    ) -> None:
        if size < 1:
            raise InputError(f'{type(self).__name__}: size must be at least 1 pixel, not {size}.')
        for name, value, known in (('resize', resize, ('crop', 'squash')), ('broken', broken, ('raise', 'skip'))):
            if value not in known:
                raise InputError(f"{type(self).__name__}: {name} must be '{known[0]}' or '{known[1]}', not {value!r}.")
        all_labels = np.asarray(labels, dtype=np.int64)
        check_labels(all_labels, classes)
        _check_classes(all_labels, classes, f'in {root}')
        kept, kept_labels = reduce_labels(
            all_labels,
            (readable_name(Path(file).as_posix()).encode() for file in files),
            classes,
            labels_per_class=labels_per_class,
            fraction=fraction,
            seed=subset_seed,
            others=others,
        )
        split_size, numbers = len(files), torch.from_numpy(kept)
        files = [files[index] for index in kept]
        required: np.ndarray | None = None
        if labels_per_class is not None or fraction is not None:
            required = kept_labels != UNLABELED
        _check_memory(len(files), size)
        paths = [Path(root, file) for file in files]
        images, kept = decode_images(paths, size, resize=resize, broken=broken, required=required)
        _check_classes(kept_labels[kept], classes, f'that can be read in {root}')
        super().__init__(images, kept_labels[kept], classes, device=device)
        self.numbers, self.split_size = numbers[torch.from_numpy(kept)], split_size


def decode_images(
    paths: Sequence[Path], size: int, *, resize: str, broken: str, required: np.ndarray | None = None
) -> tuple[Tensor, np.ndarray]:
    """Decode files into one tensor.

    Args:
        paths: The files, ``M`` of them.
        size: Side of the square images.
        resize: ``'crop'`` or ``'squash'``.
        broken: ``'raise'`` or ``'skip'``.
        required: Which of the files are never skipped, ``(M,)``; None: none of them.

    Returns:
        The images that could be read, uint8 ``(M', 3, size, size)``, and their indices in ``paths``, ``(M',)``.

    Raises:
        InputError: An unreadable file, unless they are skipped.
    """
    images = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)
    target = images.numpy()

    def decode(index: int) -> str | None:
        try:
            target[index] = read_rgb(paths[index], size, resize).transpose(2, 0, 1)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's readers raise a dozen types for damaged files
            return f'{type(error).__name__}: {error}'
        return None

    failures = {}
    pool = ThreadPoolExecutor()
    try:
        results = track(
            pool.map(decode, range(len(paths))),
            'decoding images',
            total=len(paths),
            disable=len(paths) < _LONG_WORK or not is_main_process(),
        )
        for index, failure in enumerate(results):
            if failure is None:
                continue
            if broken == 'raise' or (required is not None and required[index]):
                raise InputError(
                    f'{printable(paths[index])} cannot be read ({failure}): replace or delete it, or set '
                    "broken='skip' (not for subsets)."
                )
            failures[index] = failure
    finally:
        pool.shutdown(cancel_futures=True)
    if not failures:
        return images, np.arange(len(paths))
    print_log(
        f'skipped {len(failures)} of {len(paths)} images that cannot be read: '
        + ', '.join(f'{printable(paths[index])} ({failure})' for index, failure in failures.items()),
        logger='current',
        level=logging.WARNING,
    )
    kept = np.delete(np.arange(len(paths)), list(failures))
    for place, index in enumerate(kept.tolist()):  # in place: a second tensor might not fit
        target[place] = target[index]
    return images[: len(kept)], kept


def read_rgb(source: str | Path | Image.Image, size: int, resize: str) -> np.ndarray:
    """One image, of a file or open, as the data sets see it: uint8 ``(size, size, 3)``.

    Raises:
        ValueError: It has more than 8 bits a channel. For a damaged file, whatever Pillow's reader raises.
    """
    if not isinstance(source, Image.Image):
        with Image.open(source) as opened:
            return read_rgb(opened, size, resize)
    image = source
    if image.mode == 'F' or image.mode.startswith('I'):  # Pillow would clip them to white
        raise ValueError(f"its mode '{image.mode}' has more than 8 bits a channel")
    image = ImageOps.exif_transpose(image)
    if 'transparency' in image.info:
        image = image.convert('RGBA')
    image = image.convert('RGB')
    if image.size != (size, size):
        image = (
            ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
            if resize == 'crop'
            else image.resize((size, size), Image.Resampling.BILINEAR)
        )
    return np.asarray(image)


def _check_classes(labels: np.ndarray, classes: Sequence[str], where: str) -> None:
    counts = np.bincount(labels[labels != UNLABELED], minlength=len(classes))
    if len(labels) and (labels == UNLABELED).all():
        return
    if empty := [name for name, count in zip(classes, counts, strict=True) if not count]:
        raise InputError(
            f"class '{empty[0]}' has no image {where}"
            + (f' (nor have {len(empty) - 1} other classes).' if len(empty) > 1 else '.')
        )


def _check_memory(count: int, size: int) -> None:
    # Launchers say it; MMEngine's get_local_size needs a group that nobody makes.
    processes = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    needed, available = count * 3 * size * size * processes, available_memory()
    if available is not None and needed > available:
        each = f' for {processes} processes on this machine' if processes > 1 else ''
        raise InputError(
            f'{count:,} images of {size}x{size} need {needed / 2**30:.1f} GiB{each}, but {available / 2**30:.1f} GiB '
            "of memory are available: read them from disk with mmpretrain's ImageNet or CustomDataset and a pipeline "
            '(the docstring of crld_zoo.datasets shows one), or choose a smaller size or subset.'
        )
