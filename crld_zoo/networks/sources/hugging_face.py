"""Classifiers of transformers, from a repository or a folder."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path

from crld_zoo.errors import InputError

from .spec import NetworkSpec, head_misfit, in_bytes


def resolve(name: str, num_classes: int | None) -> NetworkSpec:
    """The spec of a repository or folder."""
    if importlib.util.find_spec('transformers') is None:
        raise InputError(f'hf::{name} needs transformers: pip install transformers')
    import transformers

    by_hand = (
        f'fetch config.json, preprocessor_config.json and model.safetensors of {name} on a machine with a '
        'network into a folder and name that folder'
    )
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        processor = _processor(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise InputError(f'cannot read hf::{name} ({reason}); {by_hand}') from error
    size = processor.get('crop_size') or processor.get('size') or getattr(config, 'image_size', None)
    if isinstance(size, Mapping):
        size = size.get('height') or size.get('shortest_edge')
    classes = num_classes or config.num_labels
    return NetworkSpec(
        f'hf::{name}',
        dict(type='HuggingFaceClassifier', model_name=name, num_labels=classes),
        mean=in_bytes(processor.get('image_mean')),
        std=in_bytes(processor.get('image_std')),
        size=size,
        library=dict(pretrained=True),
        own_classes=config.num_labels,
        misfit=head_misfit(f'hf::{name}', config.num_labels, classes),
        by_hand=by_hand,
    )


def _processor(name: str) -> dict:
    path = Path(name, 'preprocessor_config.json')
    if Path(name).is_dir():
        return json.loads(path.read_text()) if path.is_file() else {}
    from transformers.image_processing_base import ImageProcessingMixin

    return ImageProcessingMixin.get_image_processor_dict(name)[0]
