"""How a command ends: its sentence and its exit code."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import wraps

import torch.distributed
from mmengine.dist import get_rank, is_distributed
from mmengine.registry.build_functions import build_from_cfg

from crld_zoo.errors import InputError
from crld_zoo.files import NO_ROOM

from .processes import leave_group

_AGAIN = 'then run the command again (a training: with --resume).'


def main_guard(command: Callable) -> Callable:
    """Decorate a tool's main function: what a user can mend ends in one sentence and exit code 2.

    Everything else is a bug and keeps its traceback. With several processes the sentence names the one it comes from.
    """

    @wraps(command)
    def guarded(*args, **kwargs):
        logging.raiseExceptions = False  # a log file on a full disk is not worth a traceback a line
        try:
            try:
                return command(*args, **kwargs)
            except (ConnectionError, EOFError):
                time.sleep(1)  # if a loader worker broke the connection by dying, the news is on its way
                raise
        except SystemExit as leave:
            code = leave.code
        except KeyboardInterrupt:
            code = _say('interrupted', code=130)
        except Exception as error:
            sentence = _sentence(error)
            if sentence is None:
                raise
            code = _say(sentence)
        if is_distributed() and torch.distributed.get_backend() == 'gloo':  # NCCL may wait for a process that died
            leave_group(together=False)
        raise SystemExit(code)

    return guarded


def _sentence(error: Exception) -> str | None:
    """What to tell the user; None for a bug."""
    for link in _chain(error):  # PyTorch reports a dead worker wherever the program is, and that may wrap the report
        text = str(link)
        if isinstance(link, RuntimeError) and text.startswith('DataLoader worker'):
            return (
                f'{text.splitlines()[0].strip(". ")}: often the machine is out of memory or of shared memory '
                f'(/dev/shm); lower num_workers or the batch size, {_AGAIN}'
            )
    text = str(error).strip()
    from_worker = text.startswith('Caught ') and 'DataLoader worker' in text
    if from_worker:  # its own words are the last line of the traceback it comes with
        text = text.splitlines()[-1].split('Error: ', 1)[-1]
    if isinstance(error, InputError) or (
        isinstance(error, ImportError) and 'install' in text
    ):  # of an optional package
        return text
    part = _refused_part(error)
    if part is not None:
        return f'{part} cannot be built with the options that the config gives it: {text.rstrip(".")}.'
    if isinstance(error, OSError) and (error.filename is not None or from_worker):
        remedy = 'make room' if error.errno in NO_ROOM else 'see to this file or folder'
        return f'{text}: {remedy}, {_AGAIN}'
    return None


def _refused_part(error: Exception) -> str | None:
    """The part of a config whose constructor refused its options, as those of torch, MMEngine and others do."""
    if not isinstance(error, ValueError | AssertionError) or not str(error):
        return None
    part = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is build_from_cfg.__code__:
            part = frame.f_locals.get('obj_cls')
    return getattr(part, '__name__', None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _say(sentence: str, code: int = 2) -> int:
    rank = get_rank()
    print(f'error{f" (process {rank})" if rank else ""}: {sentence}', file=sys.stderr, flush=True)
    return code
