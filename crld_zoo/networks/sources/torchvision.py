"""Classifiers and segmentation networks of torchvision."""

from __future__ import annotations

import inspect
import typing

from crld_zoo.errors import UnknownNameError, nearest_names

from .spec import NetworkSpec, in_bytes


def names() -> list[str]:
    """The classifiers that it has."""
    from torchvision import models

    return models.list_models(models)


def resolve(name: str, num_classes: int | None) -> NetworkSpec:
    """The spec of ``architecture`` or ``architecture.WEIGHTS``."""
    from torchvision import models

    architecture, _, tag = name.partition('.')
    dense = architecture in models.list_models(models.segmentation)
    if architecture not in names() and not dense:
        raise UnknownNameError(
            f"torchvision has no classifier '{architecture}' ({nearest_names(architecture, names())})"
        )
    known = models.get_model_weights(architecture)
    if tag and tag not in known.__members__:
        raise UnknownNameError(
            f"torchvision has no weights '{tag}' for {architecture} ({nearest_names(tag, known.__members__)})"
        )
    weights = known[tag] if tag else known.DEFAULT
    if dense:
        preset, classes = weights.transforms(), num_classes or len(weights.meta['categories'])
        config = dict(type='TorchvisionSegmenter', model_name=architecture, num_classes=classes)
        if tag and not architecture.startswith('lraspp'):
            config['aux_loss'] = True  # its weights have that head
        return NetworkSpec(
            f'torchvision::{architecture}.{weights.name}',
            config,
            mean=in_bytes(preset.mean),
            std=in_bytes(preset.std),
            weights=weights.url,
        )
    # These weights were made for inputs of -1 to 1, to which torchvision's `transform_input` brings them a second time.
    transforms = 'transform_input' in inspect.signature(_network_class(architecture)).parameters
    preset, classes = weights.transforms(), num_classes or len(weights.meta['categories'])
    return NetworkSpec(
        f'torchvision::{architecture}.{weights.name}',
        dict(type='TorchvisionClassifier', model_name=architecture, num_classes=classes),
        mean=(127.5,) * 3 if transforms else in_bytes(preset.mean),
        std=(127.5,) * 3 if transforms else in_bytes(preset.std),
        size=preset.crop_size[0],
        weights=weights.url,
        class_names=weights.meta['categories'],
    )


def _network_class(architecture: str) -> type:
    from torchvision import models

    return typing.get_type_hints(models.get_model_builder(architecture))['return']
