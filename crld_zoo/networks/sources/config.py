"""Config dicts of classifiers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import nn

from crld_zoo.errors import InputError

from . import hugging_face, timm, torchvision
from .spec import NetworkSpec

LIBRARIES = {
    'TorchvisionClassifier': torchvision.resolve,
    'TimmClassifier': timm.resolve,
    'HuggingFaceClassifier': hugging_face.resolve,
}
"""The source behind each classifier that wraps a library's."""


def from_dict(given: Mapping, num_classes: int | None) -> NetworkSpec:
    """The spec of a registered classifier."""
    config = copy.deepcopy(dict(given))
    kind = config.get('type')
    if not kind:
        raise InputError(
            "a network's config needs a type, for example 'ImageClassifier'; "
            f'it has the keys {", ".join(config) or "none"}'
        )
    normalization = _normalization(config.get('data_preprocessor'))
    weights, prefix = _pop_pretrained(config) or (None, None)
    if kind in LIBRARIES and 'model_name' in config:
        options = {key: value for key, value in config.items() if key not in ('type', 'pretrained')}
        spec = LIBRARIES[kind](config['model_name'], options.pop('num_classes', num_classes))
        if weights is not None:
            spec = replace(spec, weights=weights, prefix=prefix)
        if options.get('transform_input'):  # then it normalizes its input a second time by itself
            raise InputError(f'transform_input=True of {spec.name}: leave it out, its mean and std stand for it')
        wanted = bool(config.get('pretrained')) or weights is not None
        return replace(spec, config=spec.config | options, wanted=wanted, **normalization)
    weights = config.pop('pretrained', None) or weights
    head = config.get('head')
    own_classes = head.get('num_classes') if isinstance(head, Mapping) else None
    if num_classes is not None and own_classes is not None and own_classes != num_classes:
        raise InputError(
            f'num_classes={num_classes} but the head of the config has {own_classes}: '
            'say the same in both, or leave num_classes out'
        )
    return NetworkSpec(
        f'the {kind}',
        config,
        weights=weights,
        prefix=prefix,
        parts=tuple(_pop_parts(config)),
        wanted=weights is not None,
        **normalization,
    )


def _pop_pretrained(config: dict) -> tuple[str, str | None] | None:
    """The file and prefix of an ``init_cfg`` of type Pretrained, of which mmengine would drop what does not fit."""
    initial = config.get('init_cfg')
    for one in initial if isinstance(initial, list | tuple) else [initial]:
        if isinstance(one, Mapping) and one.get('type') in ('Pretrained', 'PretrainedInit'):
            del config['init_cfg']
            return one['checkpoint'], one.get('prefix')
    return None


def _pop_parts(config: dict, path: str = '') -> Iterator[tuple[str, str, str | None]]:
    """The same at every depth: the module's path, its file and prefix."""
    for name, part in config.items():
        if isinstance(part, dict):
            inner = f'{path}.{name}'.lstrip('.')
            found = _pop_pretrained(part)
            if found:
                yield inner, *found
            yield from _pop_parts(part, inner)


_PLAIN = dict(loss_weight=1.0, reduction='mean', use_sigmoid=False, class_weight=None, pos_weight=None)


def unused_losses(config: Mapping) -> list[str]:
    """What a student's config says of its own loss beyond plain cross-entropy; a distiller never asks it."""
    head, training, data = (config.get(key) or {} for key in ('head', 'train_cfg', 'data_preprocessor'))
    found = []
    for where, loss in (('head.loss', head.get('loss')), ('loss', config.get('loss'))):
        if isinstance(loss, Mapping):
            kind = str(getattr(loss.get('type'), '__name__', loss.get('type'))).rpartition('.')[2]
            options = {key: value for key, value in loss.items() if key not in ('type', 'use_soft')}
            odd = {key: value for key, value in options.items() if key not in _PLAIN or value != _PLAIN[key]}
            if kind != 'CrossEntropyLoss' or odd:
                found.append(f'{where} ({kind}{"".join(f", {key}={value}" for key, value in odd.items())})')
        elif loss is not None and repr(loss) != repr(nn.CrossEntropyLoss()):
            found.append(f'{where} ({type(loss).__name__})')
    found += ['train_cfg.augments'] * bool(training.get('augments'))
    found += ['data_preprocessor.batch_augments'] * bool(data.get('batch_augments'))
    return found


def _normalization(preprocessor: Mapping | None) -> dict:
    """What a preprocessor's config says of it, {} if it says nothing."""
    known = {key: (preprocessor or {}).get(key) for key in ('mean', 'std')}
    return {key: value for key, value in known.items() if value is not None}
