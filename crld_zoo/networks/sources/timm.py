"""Classifiers of timm."""

from __future__ import annotations

import importlib.util

from crld_zoo.errors import InputError, UnknownNameError, nearest_names

from .spec import NetworkSpec, head_misfit, in_bytes


def names() -> list[str]:
    """The models that it has, none if it is not installed."""
    if importlib.util.find_spec('timm') is None:
        return []
    import timm

    return timm.list_models()


def resolve(name: str, num_classes: int | None) -> NetworkSpec:
    """The spec of ``architecture`` or ``architecture.tag``."""
    if importlib.util.find_spec('timm') is None:
        raise InputError(f'timm::{name} needs timm: pip install timm')
    import timm

    architecture, _, tag = name.partition('.')
    if not timm.is_model(architecture):
        raise UnknownNameError(f"timm has no model '{architecture}' ({nearest_names(architecture, names())})")
    known = [full.partition('.')[2] for full in timm.list_pretrained(f'{architecture}.*')]
    if tag and tag not in known:
        raise UnknownNameError(f"timm has no weights '{tag}' for {architecture} ({nearest_names(tag, known)})")
    stated = timm.get_pretrained_cfg(name)
    if stated is None:
        raise InputError(f'timm says nothing of {name}, neither its classes nor its normalization: take another model')
    classes = num_classes or stated.num_classes
    return NetworkSpec(
        f'timm::{name}',
        dict(type='TimmClassifier', model_name=name, num_classes=classes),
        mean=in_bytes(stated.mean),
        std=in_bytes(stated.std),
        size=stated.input_size[-1],
        library=dict(pretrained=True) if stated.has_weights else None,
        own_classes=stated.num_classes,
        misfit=head_misfit(f'timm::{name}', stated.num_classes, classes),
        by_hand=f'fetch the weights of {stated.hf_hub_id or stated.url} on a machine with a network and name '
        'the file as checkpoint',
    )
