"""The one reader of checkpoint files: every byte checked, no code run."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from crld_zoo.errors import InputError, MissingFileError

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
    ImportError,
)


def read_checkpoint(path: str | os.PathLike, trust_pickle: bool = False, *, verify: bool = True) -> Any:
    """What a checkpoint file holds, its tensors on the CPU (mapped from the file where it allows).

    Args:
        path: A file that ``torch.save`` or safetensors wrote.
        trust_pickle: Allow a file that runs code while it is read. Only for a file whose origin you trust.
        verify: Whether to hold every byte against its checksum, which ``torch.load`` by itself does not do; else the
            part around the tensors alone.

    Raises:
        MissingFileError: There is no such file.
        InputError: The file is damaged, is no checkpoint, or wants to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f'there is no checkpoint {path}')
    if path.suffix == '.safetensors':
        return _read_safetensors(path)
    zipped = zipfile.is_zipfile(path)
    if zipped:
        check_bytes(path, only=None if verify else '/data.pkl')
    try:
        # Training scripts of torchvision and timm keep their command line in the file; a Namespace runs no code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location='cpu', mmap=zipped, weights_only=not trust_pickle)
    except pickle.UnpicklingError as error:
        asked = re.search(r'GLOBAL (\S+)', str(error))
        what = asked[1] if asked else str(error).splitlines()[0]
        if asked is None and not zipped:
            raise InputError(
                f'{path} is damaged, or not a checkpoint (an HTML page saved under its name, perhaps); fetch it again'
            ) from error
        raise InputError(
            f'{path} is a pickle that wants to run code ({what}), refused; '
            'for a file whose origin you trust set trust_pickle=True, or save its plain state dict again'
        ) from error
    except _DAMAGE as error:
        raise InputError(_damaged(path, error)) from error


def read_classes(path: str | os.PathLike, trust_pickle: bool = False) -> list[str] | None:
    """The class names that a checkpoint was trained on, None where it does not say."""
    path = Path(path)
    if path.suffix == '.safetensors':
        from safetensors import safe_open

        with safe_open(path, 'pt') as file:
            stated = (file.metadata() or {}).get('classes')
        return None if stated is None else json.loads(stated)
    content = read_checkpoint(path, trust_pickle, verify=False)
    meta = content.get('meta') if isinstance(content, dict) else None
    data = meta.get('dataset_meta') if isinstance(meta, dict) else None
    classes = data.get('classes') if isinstance(data, dict) else None
    return None if classes is None else [str(name) for name in classes]


def check_bytes(path: str | os.PathLike, only: str | None = None) -> None:
    """Hold every byte of a zipped checkpoint against its checksum.

    Args:
        path: The file.
        only: The end of the names inside of the file to look at; all if None.

    Raises:
        InputError: The file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if only is None or name.endswith(only):
                    with archive.open(name) as member:
                        while member.read(1 << 20):
                            pass
    except _DAMAGE as error:
        raise InputError(_damaged(Path(path), error)) from error


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise InputError(f'reading {path} needs safetensors: pip install safetensors') from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f'{path} is truncated or not a safetensors file ({error}); fetch it again') from error


def _damaged(path: Path, error: BaseException) -> str:
    reason = str(error).splitlines()[0][:120] if str(error) else 'empty file'
    return f'{path} is damaged: truncated or not a checkpoint ({type(error).__name__}: {reason}); fetch it again'
