"""Which distillers the tests of all run: the registry, and what each method's own test module says of it.

``tests/test_distillers/test_<method>.py`` may state, beside its tests:

``REQUIRED = dict(option=value)``
    what an option without a default is given;
``ALTERNATIVES = dict(option=value)``
    another value of an option than its default, where none can be derived from it;
``WHERE = dict(option=dict(other=value))``
    the other options with which an option matters;
``ROWS = dict(view=3)``
    how many rows a sample has in a view of several images;
``STUDENT = SomeNetwork``
    its student, a subclass of ``TinyNetwork``, where an ordinary one will not do;
``STOPPED_GRADIENT = True``
    its published gradient is not the derivative of its loss: a weight is held constant.
"""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
import re

import torch

from crld_zoo import registry
from crld_zoo.distillers import Distiller, PairDistiller
from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from .testers import Batch, needed, prepared, seeded, stated

TWO_DEEP = ('KD', 'DKD', 'MLLD', 'FitNet')
"""Methods that are run under two decorators; all others under one."""

DISTILLERS.import_from_location()

READS_VALUES = {'MLLD'} if torch.__version__ < '2.13' else set()
"""Methods whose loss looks at a value on the CPU: a quantile does, in PyTorch 2.8."""


def said(name: str, what: str, default):
    """What the test module of a method states."""
    return stated(DISTILLERS.get(name), what, default)


def options_of(name: str) -> dict[str, inspect.Parameter]:
    return registry.options_of(DISTILLERS.get(name))


def default_config(name: str) -> dict:
    """A config of a method or, around KD, a decorator."""
    config = dict(type=name, **said(name, 'REQUIRED', {}))
    if is_decorator(name):
        config.setdefault('distiller', dict(type='KD'))
    return config


def is_decorator(name: str) -> bool:
    return 'distiller' in options_of(name)


def enumerate_cases() -> dict[str, dict]:
    """Configs by a readable name: every distiller, then decorators around whatever they accept."""
    names = sorted(DISTILLERS.module_dict)
    decorators = [name for name in names if is_decorator(name)]
    layer = {name: default_config(name) for name in names if name not in decorators}
    cases = dict(layer)
    for depth in (1, 2):
        decorated = {}
        for decorator, (name, inner) in itertools.product(decorators, layer.items()):
            if depth == 2 and name.strip(')').rpartition('(')[2] not in TWO_DEEP:
                continue
            config = dict(default_config(decorator), distiller=inner)
            try:
                DISTILLERS.build(copy.deepcopy(config))
            except InputError:  # which ones are refused is test_base's matter
                continue
            decorated[f'{decorator}({name})'] = config
        cases |= decorated
        layer = decorated
    return cases


CASES = enumerate_cases()


def methods_of(config: dict) -> list[str]:
    """The names of a distiller and all that it holds."""
    held = [value for value in config.values() if isinstance(value, dict) and 'type' in value]
    held += [each for value in config.values() if isinstance(value, list | tuple) for each in value]
    return [config['type'], *(name for each in held if isinstance(each, dict) for name in methods_of(each))]


def rows_of(config: dict) -> dict[str, int]:
    return {view: rows for name in methods_of(config) for view, rows in said(name, 'ROWS', {}).items()}


def build(case: str) -> Distiller:
    return DISTILLERS.build(copy.deepcopy(CASES[case]))


def where(name: str, option: str) -> dict:
    """The other options with which an option of a method matters."""
    return COMMON_WHERE.get(option, {}) | said(name, 'WHERE', {}).get(option, {})


def ready(case: str | dict, n: int, k: int, **options) -> tuple[Distiller, Batch]:
    """A case, or a config, as it stands in a training; and a batch. See :func:`prepared`."""
    if isinstance(case, str):
        return copy.deepcopy(_ready(case, n, k, **options))
    with seeded():  # a distiller may draw its parameters when it is built
        distiller = DISTILLERS.build(copy.deepcopy(case))
    return prepared(distiller, n, k, rows=rows_of(case), **options)


@functools.cache
def _ready(case: str, n: int, k: int, **options) -> tuple[Distiller, Batch]:
    return ready(CASES[case], n, k, **options)


def draws(distiller: Distiller, batch: Batch) -> bool:
    """Whether something in its losses is drawn at random."""
    with seeded():
        before = torch.default_generator.get_state()
        distiller(*needed(distiller, batch.predictions()))
        return not torch.equal(torch.default_generator.get_state(), before)


PAIRS = [case for case in CASES if isinstance(build(case), PairDistiller)]
DECORATED = [case for case in PAIRS if case.count('(') < 2 and not build(case).groups]
"""Pair losses that CRLD takes."""

WITHOUT_STOPPED_GRADIENT = [
    case
    for case, config in CASES.items()
    if not any(said(name, 'STOPPED_GRADIENT', False) for name in methods_of(config))
]


def alternatives(name: str, option: str) -> list:
    """Values of an option that are not its default, the likeliest first; some may be refused."""
    if option in (stated := said(name, 'ALTERNATIVES', {})):
        return [stated[option]]
    if option in COMMON:
        return [COMMON[option]]
    value = said(name, 'REQUIRED', {}).get(option, options_of(name)[option].default)
    return _others(value) or _choices(name, option, value)


COMMON = dict(
    label_smoothing=0.3,
    class_weight=[0.5, 2.0, 1.0, 1.0, 3.0, 0.1],
    bce_threshold=0.5,
    student_view='strong',
    teacher_view='strong',
    unlabeled='refuse',
    distiller=dict(type='NKD'),
)
"""Of options that many share."""

COMMON_WHERE = dict(bce_threshold=dict(bce=True, label_smoothing=0.3))
"""And with which others they matter."""


def _others(value) -> list:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [2 * value, value + 1, value - 1] if value else [7, 1]
    if isinstance(value, float):
        return [1.7 * value, 0.6 * value] if value else [0.7]
    if isinstance(value, str) and (stage := re.fullmatch(r'stage(\d)(.*)', value)):
        return [f'stage{int(stage[1]) % 3 + 1}{stage[2]}']
    if isinstance(value, list | tuple) and value and (each := [_others(item) for item in value])[0]:
        return [type(value)(item[0] for item in each), value[:-1]]
    return []


def _choices(name: str, option: str, value) -> list:
    """The sentence that refuses a choice names those that there are."""
    try:
        DISTILLERS.build({**default_config(name), **where(name, option), option: 'no such choice'})
    except InputError as error:
        return [choice for choice in re.findall(r"'(\w+)'", str(error)) if choice != value]
    return []
