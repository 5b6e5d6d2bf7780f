"""Any folder of class folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.registry import DATASETS

from .image_files import ImageFiles


@DATASETS.register_module()
class ImageTree(ImageFiles):
    """A folder with one folder of images for each class, decoded into memory.

    Each folder of ``data_root`` is a class, in the order of their names; images may lie in folders below it. Other
    files and hidden folders are passed over.

    Args:
        data_root: The folder of class folders.
        size: Side of the square images.
        classes: The class folders in the order of their labels; None takes those that are there. Naming them
            makes a class that a training or validation folder lacks an error, where labels would shift unnoticed.
        **options: ``resize``, ``broken``, ``labels_per_class``, ``fraction``, ``subset_seed`` and ``device`` of
            :class:`~crld_zoo.datasets.image_files.ImageFiles`.

    Raises:
        MissingFileError: No such folder.
        InputError: No class folder, an empty one, others than ``classes`` names, and what
            :class:`~crld_zoo.datasets.image_files.ImageFiles` refuses.
    """

    def __init__(
        self, data_root: str | os.PathLike, size: int, *, classes: Sequence[str] | None = None, **options
    ) -> None:
        root = Path(data_root)
        if not root.is_dir():
            raise MissingFileError(f'ImageTree: the folder {root} is not there: set data_root.')
        found = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith('.'))
        if not found:
            raise InputError(f'ImageTree: {root} holds no class folder: images must lie in {root}/<class>/.')
        classes = found if classes is None else list(classes)
        for name in sorted({*found} ^ {*classes}):
            state = 'not named in classes' if name in found else 'named in classes, but not there'
            raise InputError(f"ImageTree: the class folder '{name}' of {root} is {state}.")
        labels = {name: label for label, name in enumerate(classes)}
        samples = make_dataset(root, labels, IMG_EXTENSIONS, allow_empty=True)
        files = [os.path.relpath(path, root) for path, _ in samples]
        super().__init__(root, files, [label for _, label in samples], classes, size=size, **options)
