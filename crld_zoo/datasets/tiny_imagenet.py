"""Tiny-ImageNet-200, as published."""

from __future__ import annotations

import os
from pathlib import Path

from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.registry import DATASETS

from .image_files import ImageFiles
from .scan import find_images


@DATASETS.register_module()
class InMemoryTinyImageNet(ImageFiles):
    """Tiny-ImageNet-200 (`CS231N <http://cs231n.stanford.edu/tiny-imagenet-200.zip>`_): 200 classes, 64x64.

    The published folder: ``wnids.txt``, ``words.txt``, ``train/<wnid>/images/*.JPEG`` and ``val/images/*.JPEG`` with
    ``val/val_annotations.txt``. Labels follow the sorted wnids, as loaders of class folders number them. The test
    images have no labels. A copy whose validation images were moved into class folders is an
    :class:`~crld_zoo.datasets.image_folder.ImageFolder`.

    Args:
        data_root: The folder ``tiny-imagenet-200``.
        split: ``'train'`` or ``'val'``.
        size: Side of the images.
        **options: ``resize``, ``broken``, ``labels_per_class``, ``fraction``, ``others``, ``subset_seed`` and
            ``device`` of :class:`~crld_zoo.datasets.image_files.ImageFiles`.

    Raises:
        MissingFileError: A folder or a list that is not there.
        InputError: Unknown split, a damaged list, and what :class:`~crld_zoo.datasets.image_files.ImageFiles` refuses.
    """

    def __init__(self, data_root: str | os.PathLike, split: str, *, size: int = 64, **options) -> None:
        if split not in ('train', 'val'):
            raise InputError(f"InMemoryTinyImageNet: split must be 'train' or 'val', not {split!r}.")
        root = Path(data_root)
        wnids = sorted(line.strip() for line in _lines(root / 'wnids.txt'))
        words = dict(_fields(root / 'words.txt', 2))
        labels = {wnid: label for label, wnid in enumerate(wnids)}
        samples = _train(root, labels) if split == 'train' else _val(root, labels)
        super().__init__(
            root,
            [file for file, _ in samples],
            [label for _, label in samples],
            [words.get(wnid, wnid) for wnid in wnids],
            size=size,
            **options,
        )


def _train(root: Path, labels: dict[str, int]) -> list[tuple[str, int]]:
    folders = [root / 'train' / wnid / 'images' for wnid in labels]
    for folder in folders:
        if not folder.is_dir():
            raise MissingFileError(f'InMemoryTinyImageNet: the folder {folder} is not there.')
    samples, _ = find_images(folders)
    return [(os.path.relpath(path, root), label) for path, label in samples]


def _val(root: Path, labels: dict[str, int]) -> list[tuple[str, int]]:
    annotations, samples = root / 'val' / 'val_annotations.txt', []
    for name, wnid in _fields(annotations, 6):
        if wnid not in labels:
            raise InputError(
                f"InMemoryTinyImageNet: {annotations} gives {name} the class '{wnid}', which wnids.txt does not list."
            )
        samples.append((f'val/images/{name}', labels[wnid]))
    return samples


def _fields(path: Path, count: int) -> list[tuple[str, str]]:
    """The first two of ``count`` fields between tabs, of every line."""
    fields = []
    for number, line in enumerate(_lines(path), 1):
        parts = line.split('\t')
        if len(parts) != count:
            raise InputError(
                f'InMemoryTinyImageNet: line {number} of {path} has {len(parts)} fields instead of '
                f'{count}: unpack the published archive again.'
            )
        fields.append((parts[0], parts[1]))
    return fields


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise MissingFileError(
            f'InMemoryTinyImageNet: {path} is not there: set data_root to the unpacked folder tiny-imagenet-200.'
        )
    return [line for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]
