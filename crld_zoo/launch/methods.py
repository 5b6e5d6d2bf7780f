"""The table of methods: what each one looks at and keeps, its paper, its published numbers and those of this code."""

from __future__ import annotations

import ast
import inspect
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from mmengine.config import Config

from crld_zoo.config_files import read_config
from crld_zoo.distillers import Distiller, TrainingData
from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS, MODELS

from .catalog import is_decorator

CIFAR100, IMAGENET = ('r56_r20_cifar100', 'r32x4_r8x4_cifar100'), ('r34_r18_imagenet',)
"""The pairs whose published numbers are shown; of a method without a teacher, the students alone."""

_CLASSES = 100
_SMALL = dict(
    student=dict(model='crld_zoo::resnet8', num_classes=_CLASSES),
    data_preprocessor=dict(type='ViewPreprocessor', image_size=32, mean=[0.0] * 3, std=[1.0] * 3),
)


class Method(NamedTuple):
    """A row of the table.

    Attributes:
        name: The distiller.
        kind: ``'logits'``, ``'features'`` or ``'decorator'``.
        views: The views that the networks run on.
        taps: What it reads inside of the student, and of the teacher where that differs.
        state: What it trains and what else it keeps, beside the student.
        paper: An arXiv number, or the conference and year; ``'-'`` where none is known.
        cifar100: Published top-1 on the pairs :data:`CIFAR100`; of a decorator, around KD.
        imagenet: The same on :data:`IMAGENET`.
        ours: Top-1 of the last and of the best epoch, means over seeds, for each file of results that has a row of it
            which trained for more than one epoch.
    """

    name: str
    kind: str
    views: str
    taps: str
    state: str
    paper: str
    cifar100: str
    imagenet: str
    ours: str


RESULTS = Path(__file__).parents[2] / 'docs' / 'results'
"""What the zoo measured; in a clone alone."""


def methods(configs: Path, results: Path) -> list[Method]:
    """Every registered distiller, as its own recipe has it; one from outside of the zoo with its defaults.

    Args:
        configs: The folder of the recipes. Published numbers are those of their first lines.
        results: A folder of JSON files, each a list of runs ``{"row": "KD+CRLD", "seed": 0, "last_top1": …,
            "best_top1": …}``; it may be missing.

    Raises:
        InputError: A file of results is no such list.
    """
    DISTILLERS.import_from_location()
    MODELS.import_from_location()
    measured = {path.stem: _runs(path) for path in sorted(results.glob('*.json'))}
    found = sorted(DISTILLERS.module_dict.items(), key=lambda item: item[0].lower())
    return [_method(name, distiller, configs, measured) for name, distiller in found]


def paper_of(distiller: type[Distiller]) -> str:
    """The paper that a distiller's docstring names first, else its module's.

    Example:
        >>> from crld_zoo.distillers import DKD, MLLD
        >>> paper_of(DKD), paper_of(MLLD)
        ('2203.08679', 'CVPR 2023')
    """
    for pattern in (r'\b(\d{4}\.\d{4,5})\b', r'\b([A-Z]{3,7} \d{4})\b'):
        for text in (inspect.getdoc(distiller), inspect.getdoc(inspect.getmodule(distiller))):
            if number := re.search(pattern, text or ''):
                return number[1]
    return '-'


def published(name: str, distiller: type[Distiller], configs: Path) -> tuple[str, str, str]:
    """The paper of a distiller, and what its recipes give as published on :data:`CIFAR100` and :data:`IMAGENET`."""
    recipes = _recipes(name, distiller, configs)
    numbers = {pair: _published_top1(recipe) for pair, recipe in recipes.items()}
    cifar100, imagenet = (
        ', '.join(numbers[pair] for pair in pairs) if any(numbers[pair] != '-' for pair in pairs) else '-'
        for pairs in (CIFAR100, IMAGENET)
    )
    return paper_of(distiller), cifar100, imagenet


def _published_top1(recipe: Path | None) -> str:
    if recipe is None:
        return '-'
    text = ast.get_docstring(ast.parse(recipe.read_text(encoding='utf-8'))) or ''
    number = re.search(r'^Published top-1: (\d+\.\d+)', text, re.MULTILINE)
    return number[1] if number else '-'


def _method(name: str, distiller: type[Distiller], configs: Path, measured: dict[str, list[dict]]) -> Method:
    shown = next((recipe for recipe in _recipes(name, distiller, configs).values() if recipe), None)
    try:
        needs = _needs(_default(name, distiller) if shown is None else read_config(shown))
    except InputError as error:
        if shown is not None:
            raise
        needs = ', '.join(distiller.views), '-', f'unknown: {error}'
    word = shown.stem.split('_r', 1)[0] if shown else name.lower()
    numbers = published(name, distiller, configs)
    return Method(name, _kind(distiller), *needs, *numbers, _ours({word, name.lower(), f'kd+{name.lower()}'}, measured))


def _kind(distiller: type[Distiller]) -> str:
    if _is_own(distiller):
        return distiller.__module__.split('.')[-2].replace('decorators', 'decorator')
    if is_decorator(distiller):
        return 'decorator'
    return 'logits' if distiller.reads_logits else 'features'


def _is_own(distiller: type[Distiller]) -> bool:
    return distiller.__module__.startswith('crld_zoo.distillers.')


def _recipes(name: str, distiller: type[Distiller], configs: Path) -> dict[str, Path | None]:
    """The recipe of each shown pair, where the method is the zoo's and has one."""
    keys = (name.lower(), distiller.__module__.rpartition('.')[2]) if _is_own(distiller) else ()
    folder = next((configs / key for key in keys if (configs / key).is_dir()), None)
    return {pair: _recipe(folder, pair) for pair in (*CIFAR100, *IMAGENET)}


def _recipe(folder: Path | None, pair: str) -> Path | None:
    """The recipe of a pair, or of its student alone; the one around KD, where a decorator has several."""
    if folder is not None:
        for ending in (pair, pair.split('_', 1)[1]):
            there = folder.glob(f'*_{ending}.py')
            if found := sorted(there, key=lambda path: (not path.stem.startswith('kd'), path.stem)):
                return found[0]
    return None


def _default(name: str, distiller: type[Distiller]) -> Config:
    """What stands in for a recipe where a distiller has none: its defaults, a decorator around KD."""
    held = dict(distiller=dict(type='KD')) if is_decorator(distiller) else {}
    return Config(dict(model=dict(distiller=dict(type=name, **held), **_SMALL)))


def _needs(cfg: Config) -> tuple[str, str, str]:
    """Views, taps and state of a distiller, built for small networks without what other runs leave."""
    model, options = cfg.model, cfg.model.distiller
    distiller = DISTILLERS.build(
        {key: 'random' if str(value).startswith('work_dirs/') else value for key, value in options.items()}
    )
    of_cifar = isinstance(model.student, dict) and model.student.get('num_classes') == _CLASSES
    teacher = dict(model=f'crld_zoo::{"resnet8" if of_cifar else "resnet18_cifar"}', num_classes=_CLASSES)
    with _quiet():
        MODELS.build(
            dict(
                type='Distillation',
                student=model.student if of_cifar else teacher,
                teacher=dict(teacher, checkpoint='random') if distiller.needs_teacher else None,
                distiller=distiller,
                data_preprocessor=(model if of_cifar else _SMALL)['data_preprocessor'],
            )
        )
    if distiller.overrides('connect'):
        labels = torch.arange(2 * _CLASSES) % _CLASSES
        distiller.connect(TrainingData(len(labels), _CLASSES, labels))
    trained = {name.split('.')[0] for name, value in distiller.named_parameters() if value.requires_grad}
    kept = dict.fromkeys(name.split('.')[0] for name in distiller.state_dict())
    held = {'distiller', 'distillers'}
    state = [
        f'{verb} {", ".join(names)}'
        for verb, names in (
            ('trains', [name for name in kept if name in trained - held]),
            ('keeps', [name for name in kept if name not in trained | held]),
        )
        if names
    ]
    own, other = distiller.student_taps, distiller.teacher_taps if distiller.needs_teacher else ()
    taps = ', '.join(own) + (f' (teacher: {", ".join(other)})' if other not in ((), own) else '')
    return ', '.join(distiller.views), taps or '-', '; '.join(state) or '-'


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that the teacher has random weights."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _runs(path: Path) -> list[dict]:
    try:
        runs = json.loads(path.read_text(encoding='utf-8'))
        for run in runs:
            _ = run['row'].lower(), run['last_top1']
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f'{path} is no list of runs with "row", "seed", "last_top1" and "best_top1" ({error}): correct it, or take '
            'it out of the folder.'
        ) from error
    return runs


def _ours(rows: set[str], measured: dict[str, list[dict]]) -> str:
    cells = []
    for stem, runs in measured.items():
        mine = [run for run in runs if run['row'].lower().replace(' ', '') in rows and run.get('epochs') != 1]
        kinds = [[run[kind] for run in mine if run.get(kind) is not None] for kind in ('last_top1', 'best_top1')]
        if any(kinds):
            means = ', '.join(f'{fmean(values):.2f}' if values else '-' for values in kinds)
            cells.append(f'{means} ({stem}, {len(mine)} seed{"s" * (len(mine) > 1)})')
    return '; '.join(cells) or '-'
