"""Where configs lie and how one is read; every reader of a config file goes through here."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from .errors import InputError, MissingFileError, nearest_names

PREFIX = 'crld_zoo::'

_INSTALLED, _CLONE = (
    Path(__file__).resolve().parents[up] / folder for up, folder in ((0, '.mim/configs'), (1, 'configs'))
)
CONFIGS = _INSTALLED if _INSTALLED.is_dir() else _CLONE
"""The recipes: in the package where it was installed, else those of the clone."""


def config_name(path: Path, configs: Path = CONFIGS) -> str:
    """What a recipe is called in a command: ``configs/…`` in a clone, ``crld_zoo::…`` where there is none."""
    return f'{PREFIX if configs == _INSTALLED else f"{configs.name}/"}{path.relative_to(configs).as_posix()}'


def find_config(name: str | Path) -> Path:
    """The file of a config.

    Args:
        name: A path, or ``'crld_zoo::crld/dkd+crld_r34_r18_imagenet.py'``: a recipe by its path under ``configs/``.

    Raises:
        MissingFileError: There is no such file; the nearest names are given.
    """
    own = str(name).startswith(PREFIX)
    path = CONFIGS / str(name).removeprefix(PREFIX) if own else Path(name)
    if path.is_file():
        return path
    candidates = {
        file.relative_to(folder).as_posix() if own else file.stem
        for folder in ((CONFIGS,) if own else (CONFIGS, path.parent))
        for file in folder.rglob('*.py')
        if not any(part.startswith(('_', '.')) for part in file.relative_to(folder).parts)
    }
    wanted = str(name).removeprefix(PREFIX) if own else path.stem
    raise MissingFileError(f'there is no config {name} ({nearest_names(wanted, candidates)})')


def read_config(name: str | Path) -> Config:
    """A config as it is meant: a ``data_preprocessor`` beside the model is part of it.

    What ``model.data_preprocessor`` says itself goes before, key by key, as in a config that inherits. (MMEngine's
    Runner takes the one beside the model only where the model has none.)

    Args:
        name: As in :func:`find_config`.

    Raises:
        MissingFileError: There is no such file, or one that it inherits from is missing.
        InputError: Its ``custom_imports`` cannot be imported.
    """
    path = find_config(name)
    try:
        cfg = Config.fromfile(path)
    except MissingFileError:  # says what is missing already
        raise
    except FileNotFoundError as error:
        raise MissingFileError(f'{path} needs {error.filename or error}, which is not there.') from error
    except ImportError as error:
        if 'custom modules' not in str(error):
            raise
        reason: BaseException = error  # MMEngine wraps it twice
        while (before := reason.__cause__ or reason.__context__) is not None:
            reason = before
        raise InputError(
            f'the custom_imports of {path} cannot be imported ({reason}): install the package, or name its folder in '
            'PYTHONPATH.'
        ) from error
    beside = cfg.pop('data_preprocessor', None)
    if beside is None or not isinstance(cfg.get('model'), dict):
        return cfg
    own = cfg.model.get('data_preprocessor')
    cfg.model.data_preprocessor = beside
    if own is not None:
        cfg.merge_from_dict({'model': {'data_preprocessor': own.to_dict()}})
    return cfg
