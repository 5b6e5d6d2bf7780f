"""The recipes under ``configs``, found and loaded for the tests of this folder."""

from __future__ import annotations

import copy
from functools import cache

from mmengine.config import Config

from crld_zoo.config_files import CONFIGS, read_config

LEAVES = {
    path.relative_to(CONFIGS).with_suffix('').as_posix(): path
    for path in sorted(CONFIGS.rglob('*.py'))
    if '_base_' not in path.parts
}


@cache
def _load(name: str) -> Config:
    return read_config(LEAVES[name])


def load(name: str) -> Config:
    """A recipe by its path under ``configs`` without suffix; a copy, to change at will."""
    return copy.deepcopy(_load(name))
