"""A work directory belongs to one run, and to one process at a time."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.logging import print_log

from crld_zoo.engine.checkpoints import RUN_FILE, find_resume_checkpoint, read_run
from crld_zoo.errors import InputError
from crld_zoo.files import lock

LOCK_FILE = '.lock'
"""What a training keeps locked; it holds who does."""

_BEYOND_TEXT = 1 << 30  # on Windows, what lies under a lock cannot be read


@contextmanager
def occupied(work_dir: str | Path, resume: bool | str = False) -> Iterator[tuple[str | None, int | None]]:
    """Keep a work directory to this process, from before the first byte is written to the end of the run.

    The lock ends with its process, however that ends (:func:`crld_zoo.files.lock`).

    Args:
        work_dir: Made where it is missing.
        resume: True or 'auto' goes on from the newest intact checkpoint inside; a path from that one.

    Yields:
        The checkpoint to go on from and the seed of its run, None and None for a new run.

    Raises:
        InputError: Another process trains in it; it holds another run; the checkpoint cannot be resumed from.
    """
    work_dir = Path(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    with open(work_dir / LOCK_FILE, 'a+') as file:
        try:
            lock(file, _BEYOND_TEXT)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            raise InputError(
                f'{work_dir} is in use by {file.read().strip() or "another run"}: wait for its end, or choose another '
                'work directory (--work-dir).'
            ) from None
        except OSError as error:
            print_log(
                f'{work_dir} cannot be locked ({error.strerror}): see that no second run writes into it',
                logger='current',
                level=logging.WARNING,
            )
        file.truncate(0)
        file.write(f'process {os.getpid()} on {platform.node()}')
        file.flush()
        yield _checkpoint_and_seed(work_dir, resume)


def _checkpoint_and_seed(work_dir: Path, resume: bool | str) -> tuple[str | None, int | None]:
    path = (
        resume if isinstance(resume, str) and resume != 'auto' else find_resume_checkpoint(work_dir) if resume else None
    )
    holds_run = (work_dir / 'last_checkpoint').exists() or any(work_dir.glob('*.pth'))
    if path is None:
        if holds_run and not resume:
            raise InputError(
                f'{work_dir} holds the checkpoints of another run: go on with that one (--resume), or choose another '
                'work directory (--work-dir).'
            )
        return None, None
    run, seed = read_run(path)
    run_file = work_dir / RUN_FILE
    if holds_run and run_file.is_file() and run not in (None, run_file.read_text()):
        raise InputError(
            f'{path} is of another run than {work_dir} holds: go on in its own folder, or choose a new work directory '
            '(--work-dir).'
        )
    return str(path), seed
