"""Classifiers of transformers, from a repository or a folder."""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

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
        seen = _preprocessing(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise InputError(f'cannot read hf::{name} ({reason}); {by_hand}') from error
    size = seen.get('size') or getattr(config, 'image_size', None)
    classes = num_classes or config.num_labels
    return NetworkSpec(
        f'hf::{name}',
        dict(type='HuggingFaceClassifier', model_name=name, num_labels=classes),
        mean=seen.get('mean'),
        std=seen.get('std'),
        size=size,
        bgr=seen.get('bgr', False),
        library=dict(pretrained=True),
        own_classes=config.num_labels,
        class_names=[config.id2label[number] for number in sorted(config.id2label)],
        misfit=head_misfit(f'hf::{name}', config.num_labels, classes),
        by_hand=by_hand,
    )


def _preprocessing(name: str) -> dict:
    """Mean, std, order of the channels and size, as the library's own preprocessing turns out to have them.

    Its options interact (rescaling, a factor, a second division, flipped channels, defaults of the class that the file
    lacks), so it is run: black and white give the scale and shift of each channel, a random image shows whether that
    is all, a ramp from edge to edge what it crops.
    """
    config, has_file = Path(name, 'config.json'), Path(name, 'preprocessor_config.json').is_file()
    stated = json.loads(config.read_text()).get('pretrained_cfg') if config.is_file() else None
    if stated:  # timm's models in transformers
        mean, std = (in_bytes(stated.get(key)) for key in ('mean', 'std'))
        _tell_crop(f'hf::{name}', round(100 * (stated.get('crop_pct') or 1)))
        return dict(mean=mean, std=std, size=(stated.get('input_size') or [None])[-1])
    if Path(name).is_dir() and not has_file:
        return {}
    from transformers import AutoImageProcessor

    return measured(AutoImageProcessor.from_pretrained(name), f'hf::{name}')


def measured(processor: Callable, name: str) -> dict:
    """The affine map of each channel that an image processor is, and its size; a warning where it crops or pads.

    Args:
        processor: Takes uint8 images ``(H, W, 3)`` and the options of transformers' image processors.
        name: What the errors call it.

    Raises:
        InputError: It is no such map.
    """
    size = getattr(processor, 'size', None) or {}
    if getattr(processor, 'do_center_crop', False):
        size = getattr(processor, 'crop_size', None) or size
    side = size.get('height') or size.get('shortest_edge') if hasattr(size, 'get') else size
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    images = [np.zeros_like(image), np.full_like(image, 255), image]
    options = dict(do_resize=False, do_center_crop=False, return_tensors='np', input_data_format='channels_last')
    black, white, seen = np.asarray(processor(images=images, **options)['pixel_values'], np.float64)
    shift, scale = black[:, 0, 0], (white - black)[:, 0, 0] / 255
    for bgr in (False, True):
        pixels = image[..., ::-1] if bgr else image
        expected = pixels.transpose(2, 0, 1) * scale[:, None, None] + shift[:, None, None]
        difference = np.abs(expected - seen).max()
        if difference < 1e-3 * max(1.0, np.abs(seen).max()) and (scale > 0).all():
            order = slice(None, None, -1) if bgr else slice(None)  # a spec names R, G, B
            mean, std = (-shift / scale)[order], (1 / scale)[order]
            ramp = np.tile(np.arange(251, dtype=np.uint8)[None, :, None], (251, 1, 3))
            options = dict(return_tensors='np', input_data_format='channels_last')
            rows = np.asarray(processor(images=[ramp], **options)['pixel_values'], np.float64)[0, 0]
            row, width = rows[len(rows) // 2] / scale[0], rows.shape[1]
            middle = np.arange(width // 4, 3 * width // 4)
            slope = np.polyfit(middle, row[middle], 1)[0]
            _tell_crop(name, round(100 * slope * width / len(ramp)))
            side = side if width == len(ramp) else width  # what is not resized does not show it
            return dict(mean=_rounded(mean), std=_rounded(std), size=side, bgr=bgr)
    raise InputError(
        f'the preprocessing of {name} is no scale and shift of each channel, it differs by up to {difference:.3g}: '
        'give the teacher a mean, std and size of your own, and a network by config and checkpoint'
    )


@functools.cache  # a network is looked up several times
def _tell_crop(name: str, percent: int) -> None:
    if percent != 100:
        print_log(
            f'the preprocessing of {name} crops or pads: it shows the network {percent} % of the width of an image; '
            'here it is shown the whole image that the data set gives: crop in the data set what it shall not see',
            logger='current',
            level=logging.WARNING,
        )


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 4) + 0.0 for value in values)
