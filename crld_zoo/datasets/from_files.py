"""mmpretrain's datasets of class folders, with the zoo's rules of what belongs to them."""

from __future__ import annotations

import os

import mmpretrain.datasets
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import print_log

from crld_zoo.errors import InputError
from crld_zoo.registry import DATASETS

from .image_folder import class_folders
from .scan import describe, find_images, printable


class _ClassFolders(mmpretrain.datasets.CustomDataset):
    """Finds the images of a local folder as :class:`~crld_zoo.datasets.image_folder.ImageFolder` does.

    The endings stay the dataset's own (``extensions``): the pipeline decides what it can decode. Folders that are not
    on this machine are searched as mmpretrain does.
    """

    def _find_samples(self) -> list:
        root = self.img_prefix
        if not isinstance(get_file_backend(root, enable_singleton=True), LocalBackend):
            return super()._find_samples()
        folders = class_folders(root) if self.with_label else {'': ''}
        if self.with_label:
            classes = self.CLASSES
            if classes is not None and len(classes) != len(folders):
                raise InputError(
                    f'{type(self).__name__}: {root} holds {len(folders)} class folders, but there are {len(classes)} '
                    'classes.'
                )
            self._metainfo['classes'] = tuple(folders) if classes is None else classes
            self.folder_to_idx = {folder: number for number, folder in enumerate(folders.values())}
        samples, passed = find_images([os.path.join(root, folder) for folder in folders.values()], self.is_valid_file)
        counts = [0] * len(folders)
        for _, number in samples:
            counts[number] += 1
        print_log(
            f'{type(self).__name__} {printable(root)}: {len(samples)} images'
            + (f' of {len(folders)} classes' if self.with_label else '')
            + describe(passed),
            logger='current',
        )
        if 0 in counts:
            name = [*folders][counts.index(0)]
            raise InputError(
                f"{type(self).__name__}: class '{name}' has no image in {root}." if name else f'{root} holds no image.'
            )
        files = [(os.path.relpath(path, root), number) for path, number in samples]
        return files if self.with_label else [file for file, _ in files]


@DATASETS.register_module()
class CustomDataset(_ClassFolders, mmpretrain.datasets.CustomDataset):
    """mmpretrain's ``CustomDataset``: a list of files, or folders of classes read by the rules of ``ImageFolder``."""


@DATASETS.register_module()
class ImageNet(_ClassFolders, mmpretrain.datasets.ImageNet):
    """mmpretrain's ``ImageNet``: a list of files, or folders of classes read by the rules of ``ImageFolder``."""
