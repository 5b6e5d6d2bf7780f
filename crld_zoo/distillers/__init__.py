"""What is learned from the teacher: one method, one file, one pure function, one thin class.

A new method subclasses :class:`PairDistiller` (a loss between one student and one teacher prediction, which every
decorator takes) or :class:`Distiller` (anything else) and registers itself in :data:`crld_zoo.registry.DISTILLERS`.
The modules of the folders ``logits``, ``features`` and ``decorators`` are found by themselves; all that is public in
them can be imported from here.
"""

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, Any

from . import decorators, features, logits
from .base import (
    Decorator,
    Distiller,
    Networks,
    PairDecorator,
    PairDistiller,
    Prediction,
    Progress,
    TrainingData,
)

__all__ = [
    'Decorator',
    'Distiller',
    'Networks',
    'PairDecorator',
    'PairDistiller',
    'Prediction',
    'Progress',
    'TrainingData',
]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...  # the methods, which a type checker cannot find


for _folder in (logits, features, decorators):
    for _info in pkgutil.iter_modules(_folder.__path__):
        _module = importlib.import_module(f'{_folder.__name__}.{_info.name}')
        for _name, _value in vars(_module).items():
            if _name.startswith('_') or getattr(_value, '__module__', '') != _module.__name__:
                continue  # what is imported; Python 3.10 takes an alias such as Sequence[Tensor] for a class
            _is_loss = inspect.isfunction(_value) and _name.endswith('_loss')
            if _is_loss or (inspect.isclass(_value) and issubclass(_value, Distiller)):
                globals()[_name] = _value
                __all__.append(_name)
