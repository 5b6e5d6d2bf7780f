"""Config dicts of classifiers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

from crld_zoo.errors import InputError

from . import hugging_face, timm, torchvision
from .spec import NetworkSpec

LIBRARIES = {
    'TorchvisionClassifier': torchvision.resolve,
    'TimmClassifier': timm.resolve,
    'HuggingFaceClassifier': hugging_face.resolve,
}
"""The source behind each classifier that wraps a library's."""


def from_dict(config: Mapping, num_classes: int | None) -> NetworkSpec:
    """The spec of a registered classifier."""
    config = copy.deepcopy(dict(config))
    kind = config.get('type')
    if not kind:
        raise InputError(
            "a network's config needs a type, for example 'ImageClassifier'; "
            f'it has the keys {", ".join(config) or "none"}'
        )
    normalization = _normalization(config.get('data_preprocessor'))
    if kind in LIBRARIES and 'model_name' in config:
        options = {key: value for key, value in config.items() if key not in ('type', 'pretrained')}
        spec = LIBRARIES[kind](config['model_name'], options.pop('num_classes', num_classes))
        return replace(spec, config=spec.config | options, wanted=bool(config.get('pretrained')), **normalization)
    weights = config.pop('pretrained', None)
    initial = config.get('init_cfg')
    if isinstance(initial, Mapping) and initial.get('type') == 'Pretrained':
        weights = config.pop('init_cfg')['checkpoint']  # mmengine would leave out in silence what does not fit
    head = config.get('head')
    own_classes = head.get('num_classes') if isinstance(head, Mapping) else None
    if num_classes is not None and own_classes is not None and own_classes != num_classes:
        raise InputError(
            f'num_classes={num_classes} but the head of the config has {own_classes}: '
            'say the same in both, or leave num_classes out'
        )
    return NetworkSpec(f'the {kind}', config, weights=weights, wanted=weights is not None, **normalization)


def _normalization(preprocessor: Mapping | None) -> dict:
    """What a preprocessor's config says of it, {} if it says nothing."""
    known = {key: (preprocessor or {}).get(key) for key in ('mean', 'std')}
    return {key: value for key, value in known.items() if value is not None}
