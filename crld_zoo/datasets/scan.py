"""Which files of a folder are images, and which are passed over and why."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageFile

from crld_zoo.errors import InputError

_OF_THE_SYSTEM = frozenset(
    ('__MACOSX', '@eaDir', '#recycle', '$RECYCLE.BIN', 'System Volume Information', 'lost+found')
)
_SEEN = 'in folders that were read already'


@cache
def image_extensions() -> frozenset[str]:
    """The endings of every format that Pillow, with the plugins registered in it, opens as a picture.

    Readers that only know what a file is and cannot decode it (HDF5, GRIB) are left out, and what says of itself that
    it is no picture (MPEG, PostScript).

    >>> {'.jpg', '.gif', '.jfif', '.webp'} <= image_extensions(), '.h5' in image_extensions()
    (True, False)
    """
    Image.init()

    def decodes(name: str) -> bool:
        reader = Image.OPEN.get(name, (None,))[0]
        stub = isinstance(reader, type) and issubclass(reader, ImageFile.StubImageFile)
        return reader is not None and not stub and Image.MIME.get(name, 'image/').startswith('image/')

    return frozenset(ending for ending, name in Image.registered_extensions().items() if decodes(name))


def is_image(name: str) -> bool:
    """Whether a file's name has the ending of a picture.

    Example:
        >>> is_image('cat.JPEG'), is_image('notes.txt')
        (True, False)
    """
    return os.path.splitext(name)[1].lower() in image_extensions()


def is_passed_over(name: str) -> bool:
    """Whether a file or folder is none of the user's: hidden, or made by an operating system or a packer.

    >>> [is_passed_over(name) for name in ('.ipynb_checkpoints', '._x.png', '__MACOSX', 'cat')]
    [True, True, True, False]
    """
    return name.startswith('.') or name in _OF_THE_SYSTEM


def readable_name(name: str) -> str:
    """A file's or folder's name as text that can be printed and compared: composed (NFC), odd bytes read as Latin-1.

    >>> readable_name('cafe' + chr(0x301)) == readable_name(os.fsdecode(b'caf' + bytes([0xE9]))) == 'caf' + chr(0xE9)
    True
    """
    data = name.encode('utf-8', 'surrogateescape')
    try:
        return unicodedata.normalize('NFC', data.decode('utf-8'))
    except UnicodeDecodeError:
        return data.decode('latin-1')


def subfolders(root: str | os.PathLike[str]) -> dict[str, str]:
    """The folders in ``root`` by their readable names, in the order of these; links to folders count.

    Raises:
        InputError: A link that leads nowhere, two folders whose names look alike.
    """
    found = {}
    with os.scandir(os.fspath(root)) as entries:
        for entry in entries:
            if is_passed_over(entry.name):
                continue
            if entry.is_symlink() and not os.path.exists(entry.path):
                raise _dangling(entry.path)
            if not entry.is_dir():
                continue
            name = readable_name(entry.name)
            if name in found:
                raise InputError(
                    f"{root} holds two folders whose names look alike, '{name}', and differ in how the letters are "
                    'encoded: put their files into one.'
                )
            found[name] = entry.name
    return dict(sorted(found.items()))


def find_images(
    folders: Sequence[str | os.PathLike], accept: Callable[[str], bool] = is_image
) -> tuple[list[tuple[str, int]], Counter[str]]:
    """The images in ``folders`` and in all folders below them.

    Every real folder is read once, however many links lead to it; real folders come before links, ``folders`` before
    what lies below them, and a link up to where ``folders`` stand or above is not followed.

    Args:
        folders: Paths of ``F`` folders.
        accept: Whether a file of this name is an image.

    Returns:
        Pairs of a path and the index of its folder in ``folders``, ordered by folder, path of the inner folder and
        name; and how many files were passed over for each reason.

    Raises:
        InputError: A link that leads nowhere, unless its name is that of an image.
    """
    homes = {Path(os.path.abspath(folder)).parent.resolve() for folder in folders}
    seen = {_identity(parent) for home in homes for parent in (home, *home.parents)}
    starts = [(os.fspath(folder), number) for number, folder in enumerate(folders)]
    links = [start for start in starts if os.path.islink(start[0])]
    real = [start for start in starts if not os.path.islink(start[0])]
    found: list[tuple[str, int]] = []
    passed: Counter[str] = Counter()
    while real or links:
        folder, number = real.pop() if real else links.pop(0)
        identity = _identity(folder)
        if identity in seen:
            passed[_SEEN] += 1
            continue
        seen.add(identity)
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_passed_over(entry.name):
                    reason = 'hidden' if entry.name.startswith('.') else f'in {entry.name}'
                    passed[reason] += sum(len(files) for *_, files in os.walk(entry.path)) if entry.is_dir() else 1
                elif entry.is_dir():
                    (links if entry.is_symlink() else real).append((entry.path, number))
                elif accept(entry.name):
                    found.append((entry.path, number))
                elif not os.path.exists(entry.path):
                    raise _dangling(entry.path)
                else:
                    ending = os.path.splitext(entry.name)[1].lower()
                    passed[f'no image ({readable_name(ending)})' if ending else 'no image (no ending)'] += 1
    found.sort(key=lambda image: (image[1], *os.path.split(image[0])))
    return found, passed


def describe(passed: Counter[str]) -> str:
    """A clause that counts what was passed over; empty where nothing was.

    >>> describe(Counter({'hidden': 2, 'no image (.txt)': 1}))
    '; passed over: 2 hidden, 1 no image (.txt)'
    """
    parts = ', '.join(f'{count} {reason}' for reason, count in sorted(passed.items()) if count)
    return f'; passed over: {parts}' if parts else ''


def _identity(folder: str | os.PathLike) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _dangling(path: str) -> InputError:
    return InputError(f'{printable(path)} is a link that leads nowhere: mend or remove it.')


def printable(path: str | os.PathLike) -> str:
    """A path that every log can write: bytes that are no UTF-8 are escaped.

    Example:
        >>> import os
        >>> printable(os.fsdecode(b'caf' + bytes([0xE9]) + b'.png')) == 'caf' + chr(92) + 'xe9.png'
        True
    """
    return os.fspath(path).encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
