"""What the zoo has: every registered module of a kind and every recipe, each with one line."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from .distillers import Distiller
from .errors import UnknownNameError, nearest_names
from .registry import DATASETS, DISTILLERS, MODELS, VIEWS

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
        raise UnknownNameError(f"there is no list of '{kind}' ({nearest_names(kind, KINDS)}).")
    if kind == 'configs':
        leaves = (path for path in sorted(configs.rglob('*.py')) if '_base_' not in path.relative_to(configs).parts)
        return {str(path.relative_to(configs.parent)): _first_line(ast.get_docstring(ast.parse(path.read_text())))
                for path in leaves}
    registry = {'models': MODELS, 'datasets': DATASETS, 'views': VIEWS}.get(kind, DISTILLERS)
    registry.import_from_location()
    modules = dict(sorted(registry.module_dict.items(), key=lambda item: item[0].lower()))
    if registry is DISTILLERS:
        modules = {name: module for name, module in modules.items()
                   if is_decorator(module) == (kind == 'decorators')}
    return {name: _first_line(inspect.getdoc(module)) for name, module in modules.items()}


def is_decorator(distiller: type[Distiller]) -> bool:
    """Whether a distiller holds another one: it takes it as ``distiller``."""
    return 'distiller' in inspect.signature(distiller).parameters


def _first_line(text: str | None) -> str:
    return (text or '').split('\n\n')[0].replace('\n', ' ').strip()
