"""Networks of mmpretrain: its published models by name, config files, configs of installed packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from crld_zoo.config_files import read_config
from crld_zoo.errors import InputError, MissingFileError, UnknownNameError, nearest_names

from ..backbones.zoo import ZOO
from . import timm, torchvision
from .config import from_dict
from .spec import NetworkSpec


def resolve(name: str, num_classes: int | None) -> NetworkSpec:
    """The spec of a published model by its name."""
    published = model_hub().get(name.lower())
    if published is None:
        elsewhere = [
            f'{prefix}::{name}'
            for prefix, known in (('crld_zoo', ZOO), ('torchvision', torchvision.names()), ('timm', timm.names()))
            if name in known
        ]
        raise UnknownNameError(
            f"no model '{name}' in mmpretrain, and no such folder ({nearest_names(name, model_hub())})"
            + (f'; did you mean {" or ".join(elsewhere)}?' if elsewhere else '')
        )
    return replace(
        from_config_file(Path(published.config), num_classes), name=published.name, weights=published.weights
    )


def from_package(package: str, name: str, num_classes: int | None) -> NetworkSpec:
    """The spec of a config that an installed package carries."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UnknownNameError(f"'{package}::{name}': no package {package} is installed")
    root = Path(found.submodule_search_locations[0], '.mim', 'configs')
    if not (root / name).is_file():
        known = [file.relative_to(root).as_posix() for file in root.rglob('*.py')]
        raise UnknownNameError(f"{package} has no config '{name}' in {root} ({nearest_names(name, known)})")
    spec = from_config_file(root / name, num_classes)
    published = model_hub().get(spec.name.lower()) if package == 'mmpretrain' else None
    return replace(spec, weights=published.weights) if published else spec


def from_config_file(path: Path, num_classes: int | None) -> NetworkSpec:
    """The spec of the ``model`` of a config file."""
    if not path.is_file():
        near = [file.name for file in path.parent.glob(f'*{path.suffix}')]
        raise MissingFileError(
            f"no config '{path}': looked for {path.absolute()}"
            + (f' ({nearest_names(path.name, near)})' if near else '')
        )
    config = read_config(path)
    if 'model' not in config:
        raise InputError(f"{path} has no 'model': it is not the config of a classifier")
    model = config.model.to_dict()
    if num_classes is not None and isinstance(model.get('head'), dict) and 'num_classes' in model['head']:
        model['head']['num_classes'] = num_classes
    preprocessor = model.get('data_preprocessor') or {}
    pipeline = config.get('test_pipeline') or config.get('test_dataloader', {}).get('dataset', {}).get('pipeline') or []
    spec = from_dict(model | dict(data_preprocessor=dict(preprocessor)), num_classes)
    loads_files = any('LoadImageFromFile' in str(step['type']) for step in pipeline)  # mmcv's images are blue first
    return replace(
        spec,
        name=path.stem,
        declared=str(path),
        size=_pipeline_size(pipeline),
        bgr=loads_files and not preprocessor.get('to_rgb', False),
    )


def _pipeline_size(pipeline: Sequence[Mapping]) -> int | None:
    """The side of the images at the end of a test pipeline, None if it does not fix one."""
    size = None
    for step in pipeline:
        if step['type'] in ('CenterCrop', 'EfficientNetCenterCrop'):
            size = step['crop_size']
        elif step['type'] == 'Resize':
            size = step['scale']
    return max(size) if isinstance(size, (tuple, list)) else size


def model_hub() -> dict:
    """What mmpretrain knows of its published models, by name in lower case."""
    from mmpretrain.apis.model import ModelHub

    ModelHub._register_mmpretrain_models()
    return ModelHub._models_dict
