"""Files that are complete or not there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
from pathlib import Path
from typing import IO

from .errors import InputError

NO_ROOM = (errno.ENOSPC, errno.EFBIG, *(getattr(errno, name) for name in ('EDQUOT',) if hasattr(errno, name)))
"""Errors of the operating system that room on the disk mends."""

_UNFINISHED = '.unfinished'


def write_atomically(data: bytes, path: str | Path) -> None:
    """Write a file so that a kill or a full disk at any byte leaves either the old file or the new one.

    The bytes go to a hidden file in the same folder, are flushed to the disk, and take the name in one step, which is
    flushed as well where the platform can (Windows cannot open folders).

    Raises:
        InputError: The disk is full, or the file cannot be written; what was there before is untouched.
    """
    path = Path(path)
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}{_UNFINISHED}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        remedy = 'make room' if error.errno in NO_ROOM else 'see to this file, its folder or its disk'
        raise InputError(
            f'{path} ({len(data) / 1e6:.1f} MB) could not be written ({error.strerror}): {remedy}, then '
            'go on with --resume; what was saved before is intact.'
        ) from error


def file_digest(path: str | Path) -> str:
    """What tells the content of a file from another's, of a folder that of all files in it."""
    path, found = Path(path), hashlib.sha256()
    for file in sorted(part for part in path.iterdir() if part.is_file()) if path.is_dir() else [path]:
        with open(file, 'rb') as opened:
            while piece := opened.read(1 << 20):
                found.update(piece)
    return found.hexdigest()


def remove_unfinished(folder: str | Path) -> None:
    """Remove what writes left behind that a kill ended."""
    for path in Path(folder).glob(f'.*{_UNFINISHED}'):
        path.unlink(missing_ok=True)


def lock(file: IO, place: int, wait: bool = False) -> None:
    """Lock a byte of an open file for this process, until it is closed or the process ends.

    The lock is the operating system's. Between machines it is as good as the file system (NFS from version 4 on has
    such locks). Closing any other handle of the same file in this process ends it too.

    Args:
        file: Open for writing.
        place: Which byte.
        wait: Whether to wait for another process that has it.

    Raises:
        BlockingIOError or PermissionError: Another process has it.
        OSError: The file system has no locks.
    """
    if sys.platform == 'win32':
        import msvcrt

        file.seek(place)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        # Not flock: loader workers would inherit that.
        fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, place)


def _sync_folder(folder: Path) -> None:
    if os.name == 'nt':
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)
