"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from crld_zoo.errors import InputError

_UNFINISHED = '.unfinished'


def write_whole(data: bytes, path: str | Path) -> None:
    """Write a file so that a kill or a full disk at any byte leaves either the old file or the new one.

    The bytes go to a hidden file in the same folder, are flushed to the disk, and take the name in one step, which is
    flushed as well.

    Raises:
        InputError: The disk is full, or the folder cannot be written; what was there before is untouched.
    """
    path = Path(path)
    unfinished = path.with_name(f'.{path.name}{_UNFINISHED}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise InputError(
            f'{path} ({len(data) / 1e6:.1f} MB) could not be written ({error.strerror}): make room, then '
            'go on with --resume; what was saved before is intact.'
        ) from error


def remove_unfinished(folder: str | Path) -> None:
    """Remove what writes left behind that a kill ended."""
    for path in Path(folder).glob(f'.*{_UNFINISHED}'):
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)


@register_backend('local', force=True, prefixes='')
class WholeFileBackend(LocalBackend):
    """MMEngine's local storage, with every file written by :func:`write_whole`.

    It takes the place of MMEngine's backend for paths without a prefix, which all checkpoints go through: the regular
    ones, the best and the published ones, and those that a hook of a plugin saves.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes."""
        write_whole(obj, filepath)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text."""
        write_whole(obj.encode(encoding), filepath)
