"""The recipes under ``configs``, found and loaded for the tests of this folder."""

from __future__ import annotations

import copy
from functools import cache

from mmengine.config import Config

from crld_zoo.config_files import CONFIGS, read_config
from crld_zoo.registry import DISTILLERS

LEAVES = {
    path.relative_to(CONFIGS).with_suffix('').as_posix(): path
    for path in sorted(CONFIGS.rglob('*.py'))
    if {'_base_', 'compare'}.isdisjoint(path.relative_to(CONFIGS).parts)
}


DISTILLERS.import_from_location()
_OWN = {name: method for name, method in DISTILLERS.module_dict.items() if method.__module__.startswith('crld_zoo.')}
METHODS = (
    {method.__module__.rpartition('.')[2]: name for name, method in _OWN.items()}
    | {name.lower(): name for name in _OWN}
    | {'ce': 'CrossEntropy', 'normkd_dkd': 'NormKD', 'seq_kd': 'KD'}
)
"""The class behind a word of a recipe's name: its file, the class in lower case, or as it was named before."""


def _tables() -> dict[tuple[str, str], dict]:
    """The distillers of the tables by pair, ``_base_/methods/<method>.py``, by method and pair."""
    found = {}
    for path in sorted((CONFIGS / '_base_' / 'methods').glob('*.py')):
        for variable, value in Config.fromfile(path).items():
            if variable != 'distiller':
                assert variable == path.stem.partition('_transformers')[0].replace('+', '_'), path
                found |= {(variable.replace('_ls', '+ls'), pair): distiller for pair, distiller in value.items()}
    return found


TABLES = _tables()


@cache
def _load(name: str) -> Config:
    return read_config(LEAVES[name])


def load(name: str) -> Config:
    """A recipe by its path under ``configs`` without suffix; a copy, to change at will."""
    return copy.deepcopy(_load(name))
