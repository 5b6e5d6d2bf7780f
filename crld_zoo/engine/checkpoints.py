"""Checkpoint files: which one to go on from, whether it is intact, whether it fits."""

from __future__ import annotations

import logging
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from crld_zoo.errors import InputError, MissingFileError

RUN_FILE = '.run'
"""Name of the file that says which run a work directory belongs to."""

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
)
_TO_RESUME = ('meta', 'message_hub', 'state_dict', 'optimizer')


def find_resume_checkpoint(work_dir: str | Path) -> str | None:
    """The newest intact checkpoint of a work directory's run, or None; what is skipped is logged with the reason.

    Newest is the one saved last, by the time written inside, so names do not matter. Intact means that every byte is
    there and fits its checksum (``torch.load`` by itself does not notice a flipped bit), and that the file loads with
    ``weights_only=True``. Files without the optimizer (the best checkpoints) are no candidates, nor are those of an
    earlier run in the same folder.
    """
    work_dir = Path(work_dir)
    run_file = work_dir / RUN_FILE
    run = run_file.read_text() if run_file.is_file() else None
    candidates = []
    for path in sorted(work_dir.rglob('*.pth')):
        try:
            content = _read(path)
            if not all(key in content for key in _TO_RESUME):
                continue
            of_run = content['message_hub']['runtime_info'].get('run')
            if None not in (run, of_run) and run != of_run:
                raise InputError(f'{path} belongs to an earlier run')
        except InputError as error:
            _log_skipped(error)
            continue
        candidates.append((content['meta'].get('saved_at', path.stat().st_mtime), path))
    for _, path in sorted(candidates, reverse=True):
        try:
            check_checksums(path)
        except InputError as error:
            _log_skipped(error)
            continue
        return str(path)
    return None


def read_run(path: str | Path) -> tuple[str | None, int]:
    """The name of the run that a checkpoint is of, None in files of MMEngine's own hook, and its seed.

    Raises:
        InputError: Training cannot be resumed from this file: it is missing or damaged, or holds only weights.
    """
    content = load_weights_only(path)
    missing = [key for key in _TO_RESUME if key not in content]
    if missing:
        raise InputError(
            f'{path} cannot be resumed from, it has no {", ".join(missing)}: resume from a regular '
            'checkpoint, or start from these weights with load_from.'
        )
    return content['message_hub']['runtime_info'].get('run'), content['meta']['seed']


def load_weights_only(path: str | Path) -> dict:
    """A checkpoint of which every byte was checked, its tensors on the CPU (mapped from the file where it allows).

    Raises:
        InputError: The file is missing or damaged, or holds what runs code.
    """
    if not Path(path).is_file():
        raise MissingFileError(f'there is no checkpoint {path}')
    if zipfile.is_zipfile(path):
        check_checksums(path)
    return _read(Path(path))


def check_checksums(path: str | Path) -> None:
    """Check every byte of a checkpoint against its checksum.

    Raises:
        InputError: The file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except _DAMAGE as error:
        raise InputError(f'{path} is damaged: {error}') from error
    if wrong is not None:
        raise InputError(f'{path} is damaged: the checksum of {wrong} is wrong')


def check_fits(model: nn.Module, path: str | Path) -> None:
    """Check that a checkpoint has every weight of a model and no other, each of the right shape.

    Raises:
        InputError: The checkpoint is of another model, missing or damaged.
    """
    content = load_weights_only(path)
    given, needed = (
        {name: tuple(value.shape) for name, value in state.items() if isinstance(value, Tensor)}
        for state in (content['state_dict'], getattr(model, 'module', model).state_dict())
    )
    problems = {
        'missing': sorted(needed.keys() - given.keys()),
        'unknown': sorted(given.keys() - needed.keys()),
        'of another shape': [
            f'{name} {given[name]} instead of {needed[name]}'
            for name in sorted(needed)
            if given.get(name, needed[name]) != needed[name]
        ],
    }
    told = [
        f'{problem}: {", ".join(names[:3])}{f" and {len(names) - 3} more" if len(names) > 3 else ""}'
        for problem, names in problems.items()
        if names
    ]
    if told:
        raise InputError(
            f'{path} does not fit the model of this config ({"; ".join(told)}): use the config it was trained with.'
        )


def _read(path: Path) -> dict:
    """A checkpoint whose tensors stay in the file; only the part around them is read, and checked."""
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith('/data.pkl'):
                        archive.read(name)
        content = torch.load(path, map_location='cpu', mmap=zipped, weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f'{path} is damaged, or holds more than weights and could run code: {str(error).splitlines()[0]}'
        ) from error
    except _DAMAGE as error:
        raise InputError(f'{path} is damaged: {str(error).splitlines()[0] if str(error) else "it is empty"}') from error
    if not isinstance(content, dict):
        raise InputError(f'{path} holds no weights by name, but a {type(content).__name__}')
    return content


def _log_skipped(reason: InputError) -> None:
    print_log(
        f'skipped while looking for a checkpoint to go on from: {reason}', logger='current', level=logging.WARNING
    )
