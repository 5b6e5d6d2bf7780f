"""What a source knows of a network, and how it is built from that."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mmengine.registry import DefaultScope
from torch import nn

from crld_zoo.errors import InputError, UnknownNameError, nearest_names
from crld_zoo.registry import MODELS


@dataclass(frozen=True)
class NetworkSpec:
    """What a source knows of a network before it is built.

    Attributes:
        name: How the log and the errors call it.
        config: The classifier's config, for :data:`crld_zoo.registry.MODELS`.
        mean: The mean that its inputs are normalized with: R, G, B, pixels in 0-255; None if unknown.
        std: The standard deviation, likewise.
        size: The side in pixels of the images that it was made for; None if unknown.
        bgr: Whether it wants blue first.
        weights: A path or URL of its own weights; None if it has none.
        library: Options of the config with which the library fills the network itself, where it must; else None.
        wanted: Whether the config itself asks for the weights.
        prefix: Where those weights begin in their file; found by itself if None.
        parts: Weights of parts of it: the path of a module, a file, where they begin in the file or None.
        module: The network itself, where it was given and not described.
        declared: The config file that the network was described in, if one.
        own_classes: The number of classes of those that the library fills it with.
        class_names: The names that its source gives to the classes of its own weights.
        misfit: Why its own weights do not fit the classes asked for, if so.
        by_hand: What to do without a network, a clause of an error.
    """

    name: str
    config: dict
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    size: int | None = None
    bgr: bool = False
    weights: str | None = None
    library: dict | None = None
    wanted: bool = False
    prefix: str | None = None
    parts: tuple[tuple[str, str, str | None], ...] = ()
    module: nn.Module | None = None
    declared: str = ''
    own_classes: int | None = None
    class_names: Sequence[str] | None = None
    misfit: str = ''
    by_hand: str = ''


class NamedClasses(NamedTuple):
    """The names of a network's outputs, as a ``named_classes`` of the network.

    Attributes:
        place: The file or the library that names them.
        names: One an output.
        by_library: Whether a library does, which may name the same classes otherwise than the data.
    """

    place: str
    names: list[str]
    by_library: bool = False


def build(config: dict, name: str) -> nn.Module:
    """The classifier of a config."""
    # mmpretrain's classifiers build their parts in mmpretrain's registry, which finds the zoo's by the default scope.
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        for part in (config, *(config.get(key) for key in ('backbone', 'neck', 'head'))):
            if isinstance(part, Mapping) and isinstance(part.get('type'), str) and MODELS.get(part['type']) is None:
                known = {
                    known
                    for registry in (MODELS, MODELS.parent, MODELS.parent.parent)
                    for known in registry.module_dict
                }
                raise UnknownNameError(
                    f"unknown model '{part['type']}' in {name} ({nearest_names(part['type'], known)})"
                )
        return MODELS.build(copy.deepcopy(config))


def build_with_library(spec: NetworkSpec) -> nn.Module:
    """The classifier of a spec, with the weights that its library gives it."""
    try:
        return build(spec.config | (spec.library or {}), spec.name)
    except Exception as error:
        packages = {kind.__module__.split('.')[0] for kind in type(error).__mro__}
        if not isinstance(error, OSError) and not packages & {'huggingface_hub', 'httpx', 'requests', 'urllib3'}:
            raise
        reason = (str(error).strip() or 'no reason given').splitlines()[0][:160]
        raise InputError(
            f'cannot get the weights of {spec.name} ({type(error).__name__}: {reason}); {spec.by_hand}'
        ) from error


def in_bytes(values: Sequence[float] | None) -> tuple[float, ...] | None:
    """From the 0-1 scale of torchvision, timm and Hugging Face to pixels in 0-255."""
    return None if values is None else tuple(round(255.0 * value, 4) for value in values)


def head_misfit(name: str, classes: int, asked: int) -> str:
    """Libraries replace a head of another size by a random one; this says instead why they shall not."""
    if classes == asked:
        return ''
    return (
        f'the weights of {name} have {classes} classes, not {asked}: leave num_classes out and name the classes '
        'to take from it (classes=[…]), or give a checkpoint with that head'
    )


def with_classes(spec: NetworkSpec, num_classes: int) -> dict:
    """The config of a spec with another number of outputs.

    Raises:
        InputError: It has no option for it.
    """
    config = copy.deepcopy(spec.config)
    head = config.get('head')
    for owner, option in ((config, 'num_labels'), (config, 'num_classes'), (head, 'num_classes')):
        if isinstance(owner, dict) and option in owner:
            owner[option] = num_classes
            return config
    raise InputError(f'{spec.name} has no option for its number of classes, so it cannot have a new head')


def with_head(spec: NetworkSpec, head: Mapping) -> NetworkSpec:
    """The spec of the same network with another head, which is given what the backbone gives out.

    Raises:
        InputError: Its config has no head with ``in_channels``.
    """
    own = spec.config.get('head')
    if not isinstance(own, Mapping) or 'in_channels' not in own:
        raise InputError(
            f'{spec.name} has no head in its config that head={head.get("type")} could replace: take a network of the '
            "zoo or of mmpretrain, such as 'crld_zoo::resnet20'"
        )
    kept = {key: own[key] for key in ('num_classes', 'in_channels') if key in own}
    return replace(spec, config={**spec.config, 'neck': None, 'head': {**kept, **head}}, weights=None, library=None)


def classes_of(spec: NetworkSpec) -> int:
    """The number of outputs that the config of a spec asks for; see :func:`with_classes`."""
    head = spec.config.get('head')
    found = [
        owner[option]
        for owner, option in ((spec.config, 'num_labels'), (spec.config, 'num_classes'), (head, 'num_classes'))
        if isinstance(owner, dict) and isinstance(owner.get(option), int)
    ]
    if not found:
        raise InputError(f'{spec.name} does not say its number of classes, so it cannot have a new head')
    return found[0]
