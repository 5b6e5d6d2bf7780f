"""The networks of this zoo."""

from __future__ import annotations

from crld_zoo.errors import InputError, UnknownNameError, nearest_names

from ..backbones.zoo import ZOO, classifier_config
from .spec import NetworkSpec


def resolve(name: str, num_classes: int | None) -> NetworkSpec:
    """The spec of a network by its name."""
    if name not in ZOO:
        raise UnknownNameError(f"the zoo has no network '{name}' ({nearest_names(name, ZOO)})")
    if num_classes is None:
        raise InputError(f'crld_zoo::{name} needs num_classes, its number of outputs: give it beside model')
    return NetworkSpec(f'crld_zoo::{name}', classifier_config(name, num_classes))
