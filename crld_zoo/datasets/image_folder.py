"""Any folder of class folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log

from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.registry import DATASETS

from .image_files import ImageFiles
from .scan import describe, find_images, is_image, printable, readable_name, subfolders

_SPLITS = frozenset(('train', 'training', 'val', 'valid', 'validation', 'test', 'testing'))


@DATASETS.register_module()
class ImageFolder(ImageFiles):
    """A folder with one folder of images for each class, decoded into memory.

    Each folder of ``data_root`` is a class, in the order of their names; images may lie in folders below it. An image
    is what Pillow reads. Passed over, and counted in the log, are other files, everything hidden (a part of the path
    begins with a dot), what systems and packers leave behind (``__MACOSX``), and links to a folder that is read
    already; a class folder may be a link. Names are compared as they read, however their letters are encoded.

    Args:
        data_root: The folder of class folders. None where all images are unlabeled: ``classes`` names the classes
            then.
        size: Side of the square images.
        classes: The classes in the order of their labels; None takes those that are there. Naming them makes a class
            that a training or validation folder lacks an error, where labels would shift unnoticed.
        unlabeled: A folder of more images, flat or nested, whose label is -1: a training set may hold them.
        **options: ``resize``, ``broken``, ``labels_per_class``, ``fraction``, ``others``, ``subset_seed`` and
            ``device`` of :class:`~crld_zoo.datasets.image_files.ImageFiles`.

    Raises:
        MissingFileError: No such folder.
        InputError: No class folder, one alone, an empty one, others than ``classes`` names, an unlabeled folder
            without images, a link that leads nowhere, and what
            :class:`~crld_zoo.datasets.image_files.ImageFiles` refuses.
    """

    def __init__(
        self,
        data_root: str | os.PathLike | None,
        size: int,
        *,
        classes: Sequence[str] | None = None,
        unlabeled: str | os.PathLike | None = None,
        **options,
    ) -> None:
        start = unlabeled if data_root is None else data_root
        if start is None or (data_root is None and classes is None):
            raise InputError('ImageFolder: without a data_root it needs unlabeled images and the names of the classes.')
        if unlabeled is not None and not Path(unlabeled).is_dir():
            raise MissingFileError(f'ImageFolder: the folder of unlabeled images {unlabeled} is not there.')
        root, folders = Path(start), {}
        if data_root is not None:
            folders = {name: root / folder for name, folder in class_folders(root).items()}
            if unlabeled is not None:  # it may lie beside the class folders
                folders = {name: path for name, path in folders.items() if not path.samefile(unlabeled)}
        names = [readable_name(name) for name in (folders if classes is None else classes)]
        for name in sorted({*folders} ^ {*names}) if folders else ():
            state = 'not named in classes' if name in folders else 'named in classes, but not there'
            raise InputError(f"ImageFolder: the class folder '{name}' of {root} is {state}.")
        label_of = {number: names.index(name) for number, name in enumerate(folders)}
        starts = [*folders.values(), *([] if unlabeled is None else [Path(unlabeled).absolute()])]
        samples, passed = find_images(starts)
        files = [os.path.relpath(path, root) if number in label_of else path for path, number in samples]
        labels = [label_of.get(number, -1) for _, number in samples]
        if folders:
            passed['outside of the class folders'] += sum(map(is_image, os.listdir(root)))
        print_log(
            f'ImageFolder {printable(root)}: {len(labels) - labels.count(-1)} images of {len(names)} classes'
            + (f', {labels.count(-1)} unlabeled images' if unlabeled is not None else '')
            + describe(passed),
            logger='current',
        )
        if unlabeled is not None and -1 not in labels:
            raise InputError(f'ImageFolder: the folder of unlabeled images {unlabeled} holds none{describe(passed)}.')
        super().__init__(root, files, labels, names, size=size, **options)


def class_folders(root: str | os.PathLike) -> dict[str, str]:
    """The class folders in ``root``: class names in the order of their labels, and the folders' own names.

    Raises:
        MissingFileError: No such folder.
        InputError: No class folder, one alone, splits instead of classes, and what
            :func:`~crld_zoo.datasets.scan.subfolders` refuses.
    """
    root = Path(root)
    if not root.is_dir():
        raise MissingFileError(f'ImageFolder: the folder {root} is not there: set data_root.')
    found = subfolders(root)
    if not found:
        raise InputError(f'ImageFolder: {root} holds no class folder: images must lie in {root}/<class>/.')
    if len(found) == 1:
        (name,) = found.values()
        inner = subfolders(root / name)
        raise InputError(
            f"ImageFolder: '{printable(name)}' is the only folder in {root}, and one class is nothing to learn: "
            + (
                f'the classes seem to be {", ".join([*inner][:3])}{", …" * (len(inner) > 3)} below it: set data_root '
                f'to {printable(root / name)}.'
                if len(inner) > 1
                else f'images must lie in {root}/<class>/, with two classes or more.'
            )
        )
    if {name.lower() for name in found} <= _SPLITS:
        raise InputError(
            f'ImageFolder: the folders of {root} are splits ({", ".join(found)}), no classes: set data_root to one of '
            'them.'
        )
    return found
