"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torchvision.datasets
from mmengine.dist import barrier, is_main_process
from mmpretrain.datasets.categories import CIFAR10_CATEGORIES, CIFAR100_CATEGORIES
from torchvision.datasets.utils import check_integrity, download_url, extract_archive

from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.registry import DATASETS

from .in_memory import InMemoryDataset


class _CIFAR(InMemoryDataset):
    """What both sets share."""

    source: type[torchvision.datasets.CIFAR10]
    classes: tuple[str, ...]

    def __init__(
        self,
        data_root: str | os.PathLike,
        split: str,
        *,
        data_file: str | os.PathLike | None = None,
        download: bool = True,
        **options,
    ) -> None:
        if split not in ('train', 'test'):
            raise InputError(f"{type(self).__name__}: split must be 'train' or 'test', not {split!r}.")
        root = Path(data_root)
        folder, packed = root / self.source.base_folder, root / f'{self.source.__name__.lower()}.npz'
        if data_file is None and packed.is_file() and not folder.exists():
            data_file = packed
        images, labels = (
            self._published(root, split, download)
            if data_file is None
            else _packed(Path(data_file), split, len(self.classes))
        )
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        super().__init__(images, labels, self.classes, **options)

    def _published(self, root: Path, split: str, download: bool) -> tuple[np.ndarray, np.ndarray]:
        """Images ``(M, 32, 32, 3)`` and labels ``(M,)`` from the published files."""
        folder = root / self.source.base_folder
        try:
            if is_main_process() and not folder.exists():
                self._unpack(root, download)
        finally:
            barrier()  # the other processes wait for the files, or for the error
        if not folder.is_dir():
            raise MissingFileError(f'{type(self).__name__}: {folder} is not there.')
        try:
            data = self.source(root, train=split == 'train')
        except RuntimeError as error:
            published = [
                *self.source.train_list,
                *self.source.test_list,
                (self.source.meta['filename'], self.source.meta['md5']),
            ]
            wrong = [name for name, md5 in published if not check_integrity(folder / name, md5)]
            state = (
                'truncated or changed: its md5 is not the published one'
                if (folder / wrong[0]).exists()
                else ('missing')
            )
            raise InputError(
                f'{type(self).__name__}: {folder / wrong[0]} is {state}; delete the folder {folder} to '
                'have it unpacked again.'
            ) from error
        return data.data, np.asarray(data.targets)

    def _unpack(self, root: Path, download: bool) -> None:
        """Put the published folder into ``root``, all of it or nothing, from the archive there or from the network."""
        archive = root / self.source.filename
        if archive.exists() and not check_integrity(archive, self.source.tgz_md5):
            raise InputError(
                f'{type(self).__name__}: {archive} is truncated or changed: its md5 is not the published '
                'one; delete it to have it downloaded again.'
            )
        if not archive.exists() and not download:
            raise MissingFileError(
                f'{type(self).__name__}: there is neither {root / self.source.base_folder} nor '
                f'{archive.name} nor {self.source.__name__.lower()}.npz in {root}: put one there or '
                'set download=True.'
            )
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='.unpacking-', dir=root) as scratch:
            if not archive.exists():
                try:
                    download_url(self.source.url, scratch, archive.name, self.source.tgz_md5)
                except (OSError, RuntimeError) as error:
                    raise MissingFileError(
                        f'{type(self).__name__}: {archive.name} is not in {root} and could not be '
                        f'downloaded from {self.source.url} ({error}): put it there.'
                    ) from error
            extract_archive(archive if archive.exists() else Path(scratch, archive.name), scratch)
            os.replace(Path(scratch, self.source.base_folder), root / self.source.base_folder)


@DATASETS.register_module()
class InMemoryCIFAR10(_CIFAR):
    """CIFAR-10 (`Krizhevsky 2009 <https://www.cs.toronto.edu/~kriz/cifar.html>`_): 10 classes, 32x32, 60,000 images.

    Read from ``data_root``: the published folder ``cifar-10-batches-py`` (every file checked against its md5), or
    ``cifar10.npz``, or the published ``cifar-10-python.tar.gz``, which is downloaded when absent. The folder appears
    only when it is complete.

    Args:
        data_root: Where the files are, or are downloaded to.
        split: ``'train'`` or ``'test'``.
        data_file: An ``.npz`` anywhere, with uint8 ``x_train, x_test (M, 32, 32, 3)`` and integer ``y_train, y_test
            (M,)``, or the two of one split. It is read instead of ``data_root``. Its form is checked; no md5 applies.
        download: Whether to fetch what is absent.
        **options: ``labels_per_class``, ``fraction``, ``others``, ``subset_seed`` and ``device`` of
            :class:`InMemoryDataset`.

    Raises:
        MissingFileError: Nothing to read, and no download.
        InputError: Unknown split, a truncated or changed file, arrays of another form, and what
            :class:`InMemoryDataset` refuses.
    """

    source = torchvision.datasets.CIFAR10
    classes = CIFAR10_CATEGORIES


@DATASETS.register_module()
class InMemoryCIFAR100(_CIFAR):
    """CIFAR-100 (`Krizhevsky 2009 <https://www.cs.toronto.edu/~kriz/cifar.html>`_): 100 classes, 32x32, 60,000 images.

    As :class:`InMemoryCIFAR10`, from ``cifar-100-python``, ``cifar100.npz`` or ``cifar-100-python.tar.gz``. The labels
    are the 100 fine ones.

    Args:
        data_root: As in :class:`InMemoryCIFAR10`.
        split: ``'train'`` or ``'test'``.
        data_file: As in :class:`InMemoryCIFAR10`.
        download: As in :class:`InMemoryCIFAR10`.
        **options: As in :class:`InMemoryCIFAR10`.

    Raises:
        MissingFileError: As in :class:`InMemoryCIFAR10`.
        InputError: As in :class:`InMemoryCIFAR10`.
    """

    source = torchvision.datasets.CIFAR100
    classes = CIFAR100_CATEGORIES


def _packed(path: Path, split: str, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """One split of an ``.npz``, its form checked."""
    if not path.is_file():
        raise MissingFileError(f'data_file {path} is not there.')
    try:
        with path.open('rb') as file, np.load(file, allow_pickle=False) as arrays:
            missing = {f'x_{split}', f'y_{split}'} - set(arrays.files)
            if missing:
                raise InputError(f'{path} holds no {" and no ".join(sorted(missing))}, but {", ".join(arrays.files)}.')
            images, labels = arrays[f'x_{split}'], arrays[f'y_{split}']
    except InputError:
        raise
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f'{path} is truncated or no .npz of plain arrays ({error}).') from error
    if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3):
        raise InputError(
            f'x_{split} of {path} must be uint8 of shape (M, 32, 32, 3), but is {images.dtype} of shape {images.shape}.'
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
        raise InputError(
            f'y_{split} of {path} must be integers of shape ({len(images)},), but is {labels.dtype} of '
            f'shape {labels.shape}.'
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise InputError(
            f'y_{split} of {path} goes from {labels.min()} to {labels.max()}, but there are {num_classes} classes.'
        )
    return images, labels
