"""mmpretrain's datasets of class folders, with the zoo's rules of what belongs to them."""

from __future__ import annotations

import os

import mmpretrain.datasets
import numpy as np
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import print_log

from crld_zoo.errors import InputError
from crld_zoo.registry import DATASETS

from .image_folder import class_folders
from .scan import describe, find_images, printable
from .subset import UNLABELED, check_labels


class _ClassFolders(mmpretrain.datasets.CustomDataset):
    """Finds the images of a local folder as :class:`~crld_zoo.datasets.image_folder.ImageFolder` does.

    The endings stay the dataset's own (``extensions``): the pipeline decides what it can decode. Folders that are not
    on this machine are searched as mmpretrain does. The label -1 of a list of files is that of an unlabeled image.
    """

    def load_data_list(self) -> list[dict]:
        """mmpretrain's list of images, its labels checked."""
        images = super().load_data_list()
        if self.with_label:
            labels = np.array([image['gt_label'] for image in images], dtype=np.int64)
            unnamed = [''] * (int(labels.max(initial=1)) + 1)  # classes without names are as many as occur
            check_labels(labels, unnamed if self.CLASSES is None else self.CLASSES)
        return images

    def get_cat_ids(self, idx: int) -> list[int]:
        """The class of one image, in a list; empty if it is unlabeled."""
        return [label for label in super().get_cat_ids(idx) if label != UNLABELED]

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


@DATASETS.register_module()
class ImageNet21k(_ClassFolders, mmpretrain.datasets.ImageNet21k):
    """mmpretrain's ``ImageNet21k``: a list of files, or folders of classes read by the rules of ``ImageFolder``."""
