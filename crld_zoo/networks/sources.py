"""Where networks come from: one small interface for teachers and students.

A config names a network by a dict or by a string. :func:`resolve` looks either up and answers with a :class:`Recipe`,
without building anything; :func:`build_network` builds it and loads its weights.

===============================================  ==============================  ======================================
written as                                       is                              own weights; mean, std, size
===============================================  ==============================  ======================================
``dict(type='ImageClassifier', backbone=…)``     any registered classifier       ``init_cfg=dict(type='Pretrained')``
                                                                                 or none; its ``data_preprocessor``
``'path/to/config.py'``                          the ``model`` of a config       none; its ``data_preprocessor`` and
                                                                                 test pipeline
``'mmpretrain::resnet/resnet34_8xb32_in1k.py'``  the same, of an installed       the published ones of that model;
                                                 package                         as above
``'resnet34_8xb32_in1k'``, ``'mmpretrain::…'``   a model name of mmpretrain      the published ones; as above
``'torchvision::resnet34'``,                     a torchvision model, with the   torchvision's (its default ones if
``'torchvision::resnet34.IMAGENET1K_V1'``        name of its weights             none are named); as they state
``'timm::resnet34.a1_in1k'``                     a timm model                    timm's; its ``pretrained_cfg``
``'hf::microsoft/resnet-34'``, ``'a/folder'``    a Hugging Face classifier       the repository's or the folder's; its
                                                                                 image processor's
``'crld_zoo::resnet56'``                         a network of this zoo           none; unknown
===============================================  ==============================  ======================================

Another source is a function ``(name, num_classes) -> Recipe`` put into :data:`SOURCES` under its prefix.
"""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine import Config
from mmengine.registry import DefaultScope
from mmpretrain.models.classifiers import BaseClassifier
from torch import nn

from crld_zoo.errors import InputError, MissingFileError, UnknownNameError, nearest_names
from crld_zoo.registry import MODELS

from . import classifiers  # noqa: F401  registers the classifiers that the recipes name
from .backbones.known import KNOWN, classifier_config
from .weights import load_weights, locate

OWN, RANDOM = 'own', 'random'
"""The two values of ``checkpoint`` that are no file: the weights that the source itself has, and none at all."""

CIFAR_TEACHERS = 'https://github.com/megvii-research/mdistiller/releases/download/checkpoints/cifar_teachers.tar'
"""The CIFAR-100 teachers of the distillation literature: a folder of one folder a network."""


@dataclass(frozen=True)
class Recipe:
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
    misfit: str = ''
    by_hand: str = ''


def build_network(
    model: str | Mapping, *, num_classes: int | None = None, checkpoint: str | None = None, trust_pickle: bool = False
) -> BaseClassifier:
    """Build a classifier from any source, for a student say.

    Args:
        model: A config dict or a name, see the table of :mod:`crld_zoo.networks.sources`.
        num_classes: The number of outputs; that of the source if None.
        checkpoint: A path or URL of weights, ``'own'`` for those of the source, ``'random'`` for none. None means
            those that the config asks for (``pretrained``, ``init_cfg``), and random ones if it asks for none.
        trust_pickle: Allow a checkpoint that runs code while it is read.

    Raises:
        UnknownNameError: No source knows the name; the nearest names are given.
        MissingFileError: A config or checkpoint is not there.
        InputError: The weights do not fill the network, or cannot be had.
    """
    recipe = resolve(model, num_classes=num_classes)
    return build_recipe(recipe, checkpoint or (OWN if recipe.wanted else RANDOM), trust_pickle=trust_pickle)


def resolve(model: str | Mapping, *, num_classes: int | None = None) -> Recipe:
    """Look a network up, without building it.

    Args:
        model: A config dict or a name, see the table of :mod:`crld_zoo.networks.sources`.
        num_classes: The number of outputs that it shall have; that of the source if None.

    Raises:
        UnknownNameError, MissingFileError: There is no such name or config.
        InputError: The config is none of a classifier, or a library is not installed.
    """
    if isinstance(model, Mapping):
        return _from_dict(model, num_classes)
    if not isinstance(model, str):
        raise InputError(f'a network is a config dict or a name, not {type(model).__name__}')
    prefix, separator, name = model.partition('::')
    if model.endswith(('.py', '.json', '.yaml', '.yml')):
        return _packaged_config(prefix, name, num_classes) if separator else _from_config_file(Path(model), num_classes)
    if separator:
        if prefix not in SOURCES:
            raise UnknownNameError(f"unknown source '{prefix}' in '{model}' ({nearest_names(prefix, SOURCES)})")
        return SOURCES[prefix](name, num_classes)
    return SOURCES['hf' if Path(model).is_dir() else 'mmpretrain'](model, num_classes)


def check_weights(recipe: Recipe, checkpoint: str) -> None:
    """See that the weights are there, before anything is built; a file behind a URL is downloaded.

    Args:
        recipe: What :func:`resolve` found.
        checkpoint: A path, a URL, ``'own'`` or ``'random'``.

    Raises:
        MissingFileError: The file is not there.
        InputError: The source has no weights of its own, they have other classes, or the URL cannot be reached.
    """
    if checkpoint == RANDOM:
        return
    if checkpoint != OWN:
        try:
            locate(checkpoint)
        except MissingFileError as error:
            command = _command_for(Path(checkpoint))
            raise MissingFileError(f'{error}; this gets it: {command}' if command else str(error)) from None
    elif recipe.weights is not None:
        locate(recipe.weights)
    elif recipe.library is None:
        raise InputError(
            f"{recipe.name} has no weights of its own: name a file, checkpoint='….pth' "
            f"(checkpoint='{RANDOM}' if random weights are really wanted)"
        )
    elif recipe.misfit:
        raise InputError(recipe.misfit)


def build_recipe(recipe: Recipe, checkpoint: str, *, trust_pickle: bool = False) -> BaseClassifier:
    """Build what :func:`resolve` found and load its weights; see :func:`build_network`."""
    check_weights(recipe, checkpoint)
    if checkpoint == RANDOM:
        return _build(recipe.config, recipe.name)
    if checkpoint == OWN and recipe.weights is None:
        network = _build_with_library(recipe)
    else:
        network = _build(recipe.config, recipe.name)
        load_weights(network, recipe.weights if checkpoint == OWN else checkpoint, trust_pickle=trust_pickle)
    network.is_init = True  # the Runner initializes at its start every module that does not say that it is
    return network


def count_classes(network: nn.Module) -> int:
    """The number of outputs of a classifier from any source.

    Raises:
        InputError: It does not tell.
    """
    inner = getattr(network, 'model', None)
    for owner, name in (
        (getattr(network, 'head', None), 'num_classes'),
        (network, 'num_classes'),
        (inner, 'num_classes'),
        (getattr(inner, 'config', None), 'num_labels'),
    ):
        if isinstance(getattr(owner, name, None), int):
            return getattr(owner, name)
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(
            f'{type(network).__name__} does not tell its number of classes: give its head an attribute num_classes'
        )
    return linear[-1].out_features


def _build(config: dict, name: str) -> BaseClassifier:
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


def _build_with_library(recipe: Recipe) -> BaseClassifier:
    try:
        return _build(recipe.config | recipe.library, recipe.name)
    except Exception as error:
        packages = {kind.__module__.split('.')[0] for kind in type(error).__mro__}
        if not isinstance(error, OSError) and not packages & {'huggingface_hub', 'httpx', 'requests', 'urllib3'}:
            raise
        reason = (str(error).strip() or 'no reason given').splitlines()[0][:160]
        raise InputError(
            f'cannot get the weights of {recipe.name} ({type(error).__name__}: {reason}); {recipe.by_hand}'
        ) from error


def _from_dict(config: Mapping, num_classes: int | None) -> Recipe:
    config = copy.deepcopy(dict(config))
    kind = config.get('type')
    if not kind:
        raise InputError(
            "a network's config needs a type, for example 'ImageClassifier'; "
            f'it has the keys {", ".join(config) or "none"}'
        )
    normalization = _normalization(config.get('data_preprocessor'))
    if kind in LIBRARY_TYPES and 'model_name' in config:
        options = {key: value for key, value in config.items() if key not in ('type', 'pretrained')}
        recipe = SOURCES[LIBRARY_TYPES[kind]](config['model_name'], options.pop('num_classes', num_classes))
        return replace(recipe, config=recipe.config | options, wanted=bool(config.get('pretrained')), **normalization)
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
    return Recipe(f'the {kind}', config, weights=weights, wanted=weights is not None, **normalization)


def _normalization(preprocessor: Mapping | None) -> dict:
    """What a preprocessor's config says of it, {} if it says nothing."""
    known = {key: (preprocessor or {}).get(key) for key in ('mean', 'std')}
    return {key: value for key, value in known.items() if value is not None}


def _packaged_config(package: str, name: str, num_classes: int | None) -> Recipe:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UnknownNameError(f"'{package}::{name}': no package {package} is installed")
    root = Path(found.submodule_search_locations[0], '.mim', 'configs')
    if not (root / name).is_file():
        known = [file.relative_to(root).as_posix() for file in root.rglob('*.py')]
        raise UnknownNameError(f"{package} has no config '{name}' in {root} ({nearest_names(name, known)})")
    recipe = _from_config_file(root / name, num_classes)
    published = _model_hub().get(recipe.name.lower()) if package == 'mmpretrain' else None
    return replace(recipe, weights=published.weights) if published else recipe


def _from_config_file(path: Path, num_classes: int | None) -> Recipe:
    if not path.is_file():
        near = [file.name for file in path.parent.glob(f'*{path.suffix}')]
        raise MissingFileError(
            f"no config '{path}': looked for {path.absolute()}"
            + (f' ({nearest_names(path.name, near)})' if near else '')
        )
    config = Config.fromfile(path)
    if 'model' not in config:
        raise InputError(f"{path} has no 'model': it is not the config of a classifier")
    model = config.model.to_dict()
    if num_classes is not None and isinstance(model.get('head'), dict) and 'num_classes' in model['head']:
        model['head']['num_classes'] = num_classes
    preprocessor = model.get('data_preprocessor') or config.get('data_preprocessor') or {}
    pipeline = config.get('test_pipeline') or config.get('test_dataloader', {}).get('dataset', {}).get('pipeline') or []
    recipe = _from_dict(model | dict(data_preprocessor=dict(preprocessor)), num_classes)
    loads_files = any('LoadImageFromFile' in str(step['type']) for step in pipeline)  # mmcv's images are blue first
    return replace(
        recipe, name=path.stem, size=_pipeline_size(pipeline), bgr=loads_files and not preprocessor.get('to_rgb', False)
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


def _command_for(path: Path) -> str | None:
    """The command that gets a missing file, where its name is that of a published one."""
    archive = Path(CIFAR_TEACHERS).stem
    if archive in path.parts:
        folder = Path(*path.parts[: path.parts.index(archive)])
        return f'mkdir -p {folder} && curl -L {CIFAR_TEACHERS} | tar x -C {folder}'
    from torchvision import models

    urls = [weights.url for name in _torchvision_names() for weights in models.get_model_weights(name)]
    urls += [published.weights for published in _model_hub().values() if published.weights]
    url = next((url for url in urls if url.rsplit('/', 1)[-1] == path.name), None)
    return url and f'mkdir -p {path.parent} && curl -L -o {path} {url}'


def _model_hub() -> dict:
    from mmpretrain.apis.model import ModelHub

    ModelHub._register_mmpretrain_models()
    return ModelHub._models_dict


def _mmpretrain(name: str, num_classes: int | None) -> Recipe:
    published = _model_hub().get(name.lower())
    if published is None:
        elsewhere = [
            f'{prefix}::{name}'
            for prefix, known in (('crld_zoo', KNOWN), ('torchvision', _torchvision_names()), ('timm', _timm_names()))
            if name in known
        ]
        raise UnknownNameError(
            f"no model '{name}' in mmpretrain, and no such folder ({nearest_names(name, _model_hub())})"
            + (f'; did you mean {" or ".join(elsewhere)}?' if elsewhere else '')
        )
    return replace(
        _from_config_file(Path(published.config), num_classes), name=published.name, weights=published.weights
    )


def _torchvision_names() -> list[str]:
    from torchvision import models

    return models.list_models(models)


def _torchvision(name: str, num_classes: int | None) -> Recipe:
    from torchvision import models

    architecture, _, tag = name.partition('.')
    if architecture not in _torchvision_names():
        raise UnknownNameError(
            f"torchvision has no classifier '{architecture}' ({nearest_names(architecture, _torchvision_names())})"
        )
    known = models.get_model_weights(architecture)
    if tag and tag not in known.__members__:
        raise UnknownNameError(
            f"torchvision has no weights '{tag}' for {architecture} ({nearest_names(tag, known.__members__)})"
        )
    weights = known[tag] if tag else known.DEFAULT
    preset, classes = weights.transforms(), num_classes or len(weights.meta['categories'])
    return Recipe(
        f'torchvision::{architecture}.{weights.name}',
        dict(type='TorchvisionClassifier', model_name=architecture, num_classes=classes),
        mean=_in_bytes(preset.mean),
        std=_in_bytes(preset.std),
        size=preset.crop_size[0],
        weights=weights.url,
    )


def _timm_names() -> list[str]:
    if importlib.util.find_spec('timm') is None:
        return []
    import timm

    return timm.list_models()


def _timm(name: str, num_classes: int | None) -> Recipe:
    if importlib.util.find_spec('timm') is None:
        raise InputError(f'timm::{name} needs timm: pip install timm')
    import timm

    architecture, _, tag = name.partition('.')
    if not timm.is_model(architecture):
        raise UnknownNameError(f"timm has no model '{architecture}' ({nearest_names(architecture, _timm_names())})")
    known = [full.partition('.')[2] for full in timm.list_pretrained(f'{architecture}.*')]
    if tag and tag not in known:
        raise UnknownNameError(f"timm has no weights '{tag}' for {architecture} ({nearest_names(tag, known)})")
    stated = timm.get_pretrained_cfg(name)
    classes = num_classes or stated.num_classes
    return Recipe(
        f'timm::{name}',
        dict(type='TimmClassifier', model_name=name, num_classes=classes),
        mean=_in_bytes(stated.mean),
        std=_in_bytes(stated.std),
        size=stated.input_size[-1],
        library=dict(pretrained=True) if stated.has_weights else None,
        misfit=_misfit(f'timm::{name}', stated.num_classes, classes),
        by_hand=f'fetch the weights of {stated.hf_hub_id or stated.url} on a machine with a network and name '
        'the file as checkpoint',
    )


def _hugging_face(name: str, num_classes: int | None) -> Recipe:
    if importlib.util.find_spec('transformers') is None:
        raise InputError(f'hf::{name} needs transformers: pip install transformers')
    import transformers

    by_hand = (
        f'fetch config.json, preprocessor_config.json and model.safetensors of {name} on a machine with a '
        'network into a folder and name that folder'
    )
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        processor = _hugging_face_processor(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise InputError(f'cannot read hf::{name} ({reason}); {by_hand}') from error
    size = processor.get('crop_size') or processor.get('size') or getattr(config, 'image_size', None)
    if isinstance(size, Mapping):
        size = size.get('height') or size.get('shortest_edge')
    classes = num_classes or config.num_labels
    return Recipe(
        f'hf::{name}',
        dict(type='HuggingFaceClassifier', model_name=name, num_labels=classes),
        mean=_in_bytes(processor.get('image_mean')),
        std=_in_bytes(processor.get('image_std')),
        size=size,
        library=dict(pretrained=True),
        misfit=_misfit(f'hf::{name}', config.num_labels, classes),
        by_hand=by_hand,
    )


def _hugging_face_processor(name: str) -> dict:
    path = Path(name, 'preprocessor_config.json')
    if Path(name).is_dir():
        return json.loads(path.read_text()) if path.is_file() else {}
    from transformers.image_processing_base import ImageProcessingMixin

    return ImageProcessingMixin.get_image_processor_dict(name)[0]


def _known(name: str, num_classes: int | None) -> Recipe:
    if name not in KNOWN:
        raise UnknownNameError(f"the zoo has no network '{name}' ({nearest_names(name, KNOWN)})")
    if num_classes is None:
        raise InputError(f'crld_zoo::{name} needs num_classes')
    return Recipe(f'crld_zoo::{name}', classifier_config(name, num_classes))


def _misfit(name: str, classes: int, asked: int) -> str:
    """Libraries replace a head of another size by a random one; this says instead why they shall not."""
    if classes == asked:
        return ''
    return (
        f'the weights of {name} have {classes} classes, not {asked}: leave num_classes out and name the classes '
        'to take from it (classes=[…]), or give a checkpoint with that head'
    )


def _in_bytes(values: Sequence[float] | None) -> tuple[float, ...] | None:
    """From the 0-1 scale of torchvision, timm and Hugging Face to pixels in 0-255."""
    return None if values is None else tuple(round(255.0 * value, 4) for value in values)


SOURCES: dict[str, Callable[[str, int | None], Recipe]] = {
    'crld_zoo': _known,
    'mmpretrain': _mmpretrain,
    'torchvision': _torchvision,
    'timm': _timm,
    'hf': _hugging_face,
}
LIBRARY_TYPES = {'TorchvisionClassifier': 'torchvision', 'TimmClassifier': 'timm', 'HuggingFaceClassifier': 'hf'}
