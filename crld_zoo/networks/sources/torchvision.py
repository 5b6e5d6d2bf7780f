"""Classifiers of torchvision."""

from __future__ import annotations

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
    if architecture not in names():
        raise UnknownNameError(
            f"torchvision has no classifier '{architecture}' ({nearest_names(architecture, names())})"
        )
    known = models.get_model_weights(architecture)
    if tag and tag not in known.__members__:
        raise UnknownNameError(
            f"torchvision has no weights '{tag}' for {architecture} ({nearest_names(tag, known.__members__)})"
        )
    weights = known[tag] if tag else known.DEFAULT
    preset, classes = weights.transforms(), num_classes or len(weights.meta['categories'])
    return NetworkSpec(
        f'torchvision::{architecture}.{weights.name}',
        dict(type='TorchvisionClassifier', model_name=architecture, num_classes=classes),
        mean=in_bytes(preset.mean),
        std=in_bytes(preset.std),
        size=preset.crop_size[0],
        weights=weights.url,
    )
