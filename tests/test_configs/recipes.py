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
    if '_base_' not in path.parts
}


DISTILLERS.import_from_location()
_OWN = {name: method for name, method in DISTILLERS.module_dict.items() if method.__module__.startswith('crld_zoo.')}
METHODS = (
    {method.__module__.rpartition('.')[2]: name for name, method in _OWN.items()}
    | {name.lower(): name for name in _OWN}
    | {'ce': 'CrossEntropy', 'normkd_dkd': 'NormKD'}
)
"""The class behind a word of a recipe's name: its file, the class in lower case, or as it was named before."""


@cache
def _load(name: str) -> Config:
    return read_config(LEAVES[name])


def load(name: str) -> Config:
    """A recipe by its path under ``configs`` without suffix; a copy, to change at will."""
    return copy.deepcopy(_load(name))
