"""Where networks come from: one small interface for teachers and students.

A config names a network by a dict or by a string. :func:`resolve` looks either up and answers with a
:class:`NetworkSpec`, without building anything; :func:`build_network` builds it and loads its weights.

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

Another source is a function ``(name, num_classes) -> NetworkSpec`` put into :data:`SOURCES` under its prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mmpretrain.models.classifiers import BaseClassifier
from torch import nn

from crld_zoo.errors import InputError, MissingFileError, UnknownNameError, nearest_names

from .. import classifiers  # noqa: F401  registers the classifiers that the specs name
from ..weights import load_weights, locate
from . import hugging_face, mmpretrain, timm, torchvision, zoo
from .config import from_dict
from .mmpretrain import from_config_file, from_package, model_hub
from .spec import NetworkSpec, build, build_with_library

OWN, RANDOM = 'own', 'random'
"""The two values of ``checkpoint`` that are no file: the weights that the source itself has, and none at all."""

CIFAR_TEACHERS = 'https://github.com/megvii-research/mdistiller/releases/download/checkpoints/cifar_teachers.tar'
"""The CIFAR-100 teachers of the distillation literature: a folder of one folder a network."""


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
    spec = resolve(model, num_classes=num_classes)
    return build_from_spec(spec, checkpoint or (OWN if spec.wanted else RANDOM), trust_pickle=trust_pickle)


def resolve(model: str | Mapping, *, num_classes: int | None = None) -> NetworkSpec:
    """Look a network up, without building it.

    Args:
        model: A config dict or a name, see the table of :mod:`crld_zoo.networks.sources`.
        num_classes: The number of outputs that it shall have; that of the source if None.

    Raises:
        UnknownNameError, MissingFileError: There is no such name or config.
        InputError: The config is none of a classifier, or a library is not installed.
    """
    if isinstance(model, Mapping):
        return from_dict(model, num_classes)
    if not isinstance(model, str):
        raise InputError(f'a network is a config dict or a name, not {type(model).__name__}')
    prefix, separator, name = model.partition('::')
    if model.endswith(('.py', '.json', '.yaml', '.yml')):
        return from_package(prefix, name, num_classes) if separator else from_config_file(Path(model), num_classes)
    if separator:
        if prefix not in SOURCES:
            raise UnknownNameError(f"unknown source '{prefix}' in '{model}' ({nearest_names(prefix, SOURCES)})")
        return SOURCES[prefix](name, num_classes)
    return SOURCES['hf' if Path(model).is_dir() else 'mmpretrain'](model, num_classes)


def check_weights(spec: NetworkSpec, checkpoint: str) -> None:
    """See that the weights are there, before anything is built; a file behind a URL is downloaded.

    Args:
        spec: What :func:`resolve` found.
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
    elif spec.weights is not None:
        locate(spec.weights)
    elif spec.library is None:
        raise InputError(
            f"{spec.name} has no weights of its own: name a file, checkpoint='….pth' "
            f"(checkpoint='{RANDOM}' if random weights are really wanted)"
        )
    elif spec.misfit:
        raise InputError(spec.misfit)


def build_from_spec(spec: NetworkSpec, checkpoint: str, *, trust_pickle: bool = False) -> BaseClassifier:
    """Build what :func:`resolve` found and load its weights; see :func:`build_network`."""
    check_weights(spec, checkpoint)
    if checkpoint == RANDOM:
        return build(spec.config, spec.name)
    if checkpoint == OWN and spec.weights is None:
        network = build_with_library(spec)
    else:
        network = build(spec.config, spec.name)
        load_weights(network, spec.weights if checkpoint == OWN else checkpoint, trust_pickle=trust_pickle)
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


def _command_for(path: Path) -> str | None:
    """The command that gets a missing file, where its name is that of a published one."""
    archive = Path(CIFAR_TEACHERS).stem
    if archive in path.parts:
        folder = Path(*path.parts[: path.parts.index(archive)])
        return f'mkdir -p {folder} && curl -L {CIFAR_TEACHERS} | tar x -C {folder}'
    from torchvision import models

    urls = [weights.url for name in torchvision.names() for weights in models.get_model_weights(name)]
    urls += [published.weights for published in model_hub().values() if published.weights]
    url = next((url for url in urls if url.rsplit('/', 1)[-1] == path.name), None)
    return url and f'mkdir -p {path.parent} && curl -L -o {path} {url}'


SOURCES: dict[str, Callable[[str, int | None], NetworkSpec]] = {
    'crld_zoo': zoo.resolve,
    'mmpretrain': mmpretrain.resolve,
    'torchvision': torchvision.resolve,
    'timm': timm.resolve,
    'hf': hugging_face.resolve,
}
