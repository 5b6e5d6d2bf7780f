"""What the zoo has: every registered module of a kind and every recipe, each with one line."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from crld_zoo.config_files import config_name
from crld_zoo.distillers import Distiller
from crld_zoo.errors import UnknownNameError, nearest_names
from crld_zoo.registry import DATASETS, DISTILLERS, MODELS, VIEWS

KINDS = ('distillers', 'decorators', 'views', 'models', 'datasets', 'configs')


def catalog(kind: str, configs: Path) -> dict[str, str]:
    """Names of one kind with a line about each.

    Args:
        kind: One of :data:`KINDS`.
        configs: The folder of the recipes.

    Returns:
        By name, the first line of the docstring (of a config: its first line). mmpretrain's and mmengine's own models
        and data sets work as well and are not listed.

    Raises:
        UnknownNameError: There is no such kind.
    """
    if kind not in KINDS:
        raise UnknownNameError(f"there is no list of '{kind}' ({nearest_names(kind, (*KINDS, 'methods'))}).")
    if kind == 'configs':
        return {
            config_name(path, configs): _first_line(ast.get_docstring(ast.parse(path.read_text())))
            for path in _leaves(configs)
        }
    registry = {'models': MODELS, 'datasets': DATASETS, 'views': VIEWS}.get(kind, DISTILLERS)
    registry.import_from_location()
    modules = dict(sorted(registry.module_dict.items(), key=lambda item: item[0].lower()))
    if registry is DISTILLERS:
        modules = {name: module for name, module in modules.items() if is_decorator(module) == (kind == 'decorators')}
    return {name: _first_line(inspect.getdoc(module)) for name, module in modules.items()}


class Grid(NamedTuple):
    """The recipes of one data set, ``<method>[+<decorator>]_<teacher>_<student>_<dataset>.py``.

    Attributes:
        dataset: As file names call it.
        methods: Each with its decorators, ``'kd'`` before ``'kd+crld'``.
        recipes: Of each (teacher, student), the methods that it has a recipe for.
    """

    dataset: str
    methods: list[str]
    recipes: dict[tuple[str, str], set[str]]


def grids(configs: Path) -> list[Grid]:
    """The recipes of a teacher and a student as one grid a data set.

    Args:
        configs: The folder of the recipes; the pairs are those of its ``_base_/pairs``.
    """
    found: dict[str, dict[tuple[str, str], set[str]]] = defaultdict(lambda: defaultdict(set))
    pairs = _pairs(configs)
    for path in _leaves(configs):
        pair = _pair(path.stem, pairs)
        if pair is not None:
            teacher, student, dataset = pair.split('_', 2)
            found[dataset][teacher, student].add(path.stem.removesuffix(f'_{pair}'))
    return [
        Grid(
            dataset,
            sorted(set.union(*recipes.values()), key=lambda method: method.split('+')),
            dict(sorted(recipes.items())),
        )
        for dataset, recipes in sorted(found.items())
    ]


def outside_of_grids(configs: Path) -> dict[str, str]:
    """The other recipes, as :func:`catalog` gives them: of one network alone, or for data of one's own."""
    pairs = _pairs(configs)
    return {name: line for name, line in catalog('configs', configs).items() if _pair(Path(name).stem, pairs) is None}


def is_decorator(distiller: type[Distiller]) -> bool:
    """Whether a distiller holds another one: it takes it as ``distiller``."""
    return 'distiller' in inspect.signature(distiller).parameters


def _leaves(configs: Path) -> list[Path]:
    """The recipes: neither what they inherit from nor the files that compare them."""
    return [
        path
        for path in sorted(configs.rglob('*.py'))
        if {'_base_', 'compare'}.isdisjoint(path.relative_to(configs).parts)
    ]


def _pairs(configs: Path) -> list[str]:
    """``<teacher>_<student>_<dataset>`` of every pair."""
    return [path.stem for path in (configs / '_base_' / 'pairs').glob('*.py')]


def _pair(recipe: str, pairs: list[str]) -> str | None:
    """The pair at the end of a recipe's name."""
    return next((pair for pair in pairs if recipe.endswith(f'_{pair}')), None)


def _first_line(text: str | None) -> str:
    return (text or '').split('\n\n')[0].replace('\n', ' ').strip()
