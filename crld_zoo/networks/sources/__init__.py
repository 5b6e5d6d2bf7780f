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

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from mmpretrain.models.classifiers import BaseClassifier
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

from crld_zoo.checkpoint_files import read_classes
from crld_zoo.errors import InputError, MissingFileError, UnknownNameError, nearest_names

from ..classifiers import ModuleClassifier, _add_zero, two_class_logits
from ..selection import select_weights
from ..weights import fill, load_weights, locate
from . import hugging_face, mmpretrain, timm, torchvision, zoo
from .config import from_dict, unused_losses
from .mmpretrain import from_config_file, from_package, model_hub
from .spec import NamedClasses, NetworkSpec, build, build_with_library, classes_of, with_classes, with_head

_USUAL_SIZES = (32, 64, 224)

OWN, RANDOM = 'own', 'random'
"""The two values of ``checkpoint`` that are no file: the weights that the source itself has, and none at all."""

CIFAR_TEACHERS = 'https://github.com/megvii-research/mdistiller/releases/download/checkpoints/cifar_teachers.tar'
"""The CIFAR-100 teachers of the distillation literature: a folder of one folder a network."""


def build_network(
    model: str | Mapping | nn.Module,
    *,
    num_classes: int | None = None,
    checkpoint: str | None = None,
    head: str | Mapping | None = None,
    prefix: str | None = None,
    init_from: str | Mapping | None = None,
    trust_pickle: bool = False,
) -> BaseClassifier:
    """Build a student from any source.

    Args:
        model: A config dict or a name, see the table of :mod:`crld_zoo.networks.sources`, or the module itself.
        num_classes: The number of outputs; that of the source if None.
        checkpoint: A path or URL of weights, ``'own'`` for those of the source, ``'random'`` for none. None means
            those that the config asks for (``pretrained``, ``init_cfg``), and random ones if it asks for none.
        head: ``'new'`` leaves the final classifier random and loads all else, strictly: a pretrained student for
            other classes. A config is another head in the place of the source's own, on the maps that the backbone
            gives out: SimKD's :class:`~crld_zoo.networks.heads.TeacherHead`, say.
        prefix: Which part of a checkpoint it is, by the beginning of its keys.
        init_from: A larger network of the same family, as the arguments of this function, that it is a pruning of:
            it starts from every n-th block and channel (:func:`~crld_zoo.networks.selection.select_weights`). With
            ``head='new'`` the final classifier stays random.
        trust_pickle: Allow a checkpoint that runs code while it is read.

    Raises:
        UnknownNameError: No source knows the name; the nearest names are given.
        MissingFileError: A config or checkpoint is not there.
        InputError: The weights do not fill the network, or cannot be had; its config names a loss, which a distiller
            would never use.

    Example:
        A student for ten classes that starts from ImageNet's weights:

        .. code-block:: python

            student = dict(model='timm::mobilenetv4_conv_small', checkpoint='own', head='new', num_classes=10)
    """
    spec = resolve(model, num_classes=num_classes, head=head)
    head = None if isinstance(head, Mapping) else head
    unused = unused_losses(spec.config)
    if unused:
        sentence = (
            f'{", ".join(unused)} of {spec.name} would never be used, since the distiller makes the loss: label '
            "smoothing, class weights and binary cross-entropy are the distiller's options (label_smoothing, "
            'class_weight, bce), Mixup and CutMix belong to the data or its preprocessor'
        )
        if not spec.declared:
            raise InputError(f'{sentence}; take it out of the config of the student')
        print_log(sentence, logger='current', level=logging.WARNING)
    if checkpoint is not None:
        spec = replace(spec, parts=())  # one answer for the whole: 'random' loads no part either
    if init_from is not None:
        if checkpoint not in (None, RANDOM) or prefix is not None:
            raise InputError(f'{spec.name} starts from a checkpoint (and its prefix) or from init_from, not from both')
        return _pruned(spec, dict(model=init_from) if isinstance(init_from, str) else init_from, head)
    checkpoint = checkpoint or (OWN if spec.wanted else RANDOM)
    network = build_from_spec(spec, checkpoint, head=head, prefix=prefix, trust_pickle=trust_pickle)
    _check_training(network, spec)
    if getattr(network, 'num_classes', None) == 2 and _add_zero in network._forward_hooks.values():
        raise InputError(f'{spec.name} has one output: a student of two classes needs two, num_classes=2')
    if spec.mean is not None and spec.std is not None and (checkpoint != RANDOM or 'data_preprocessor' in spec.config):
        network.normalized_with = spec.mean, spec.std
    return network


def _pruned(spec: NetworkSpec, larger: Mapping, head: str | Mapping | None) -> BaseClassifier:
    """The network with the weights of a larger one of its family."""
    if larger.get('checkpoint') is None and not resolve(larger['model'], num_classes=classes_of(spec)).wanted:
        raise InputError(
            f"init_from of {spec.name} names no weights: give it a checkpoint ('own' for those of its source)"
        )
    network, start = build_from_spec(spec, RANDOM), build_network(**larger)
    own, weights = network.state_dict(), start.state_dict()
    if head == 'new':
        weights |= {key: own[key] for key in _head_of(spec, network)}
    elif count_classes(start) != count_classes(network):
        raise InputError(
            f'{spec.name} has {count_classes(network)} classes, the network that it starts from '
            f"{count_classes(start)}: head='new' leaves the final classifier random"
        )
    network.load_state_dict(select_weights(weights, own))
    network.is_init = True
    return network


def resolve(
    model: str | Mapping | nn.Module, *, num_classes: int | None = None, head: str | Mapping | None = None
) -> NetworkSpec:
    """Look a network up, without building it.

    Args:
        model: A config dict or a name, see the table of :mod:`crld_zoo.networks.sources`.
        num_classes: The number of outputs that it shall have; that of the source if None.
        head: The config of another head, if one.

    Raises:
        UnknownNameError, MissingFileError: There is no such name or config.
        InputError: The config is none of a classifier, or has no head to replace; a library is not installed.
    """
    spec = _look_up(model, num_classes)
    return with_head(spec, head) if isinstance(head, Mapping) else spec


def _look_up(model: str | Mapping | nn.Module, num_classes: int | None) -> NetworkSpec:
    if isinstance(model, nn.Module):
        return NetworkSpec(type(model).__name__, {}, module=model, wanted=True)
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
    elif spec.module is not None:
        return
    elif spec.library is None:
        raise InputError(
            f"{spec.name} has no weights of its own: name a file, checkpoint='….pth' "
            f"(checkpoint='{RANDOM}' if random weights are really wanted)"
        )
    elif spec.misfit:
        raise InputError(spec.misfit)


def build_from_spec(
    spec: NetworkSpec,
    checkpoint: str,
    *,
    head: str | None = None,
    prefix: str | None = None,
    trust_pickle: bool = False,
) -> BaseClassifier:
    """Build what :func:`resolve` found and load its weights; see :func:`build_network`."""
    if head not in (None, 'new') or (head and checkpoint == RANDOM):
        raise InputError(f"head={head!r} of {spec.name}: 'new', beside the checkpoint that all else comes from")
    check_weights(replace(spec, misfit='') if head else spec, checkpoint)
    file = spec.weights if checkpoint == OWN else None if checkpoint == RANDOM else checkpoint
    by_library = checkpoint == OWN and file is None and spec.module is None
    if spec.module is not None:
        network = spec.module if isinstance(spec.module, BaseClassifier) else _wrapped(spec.module)
    elif by_library and not head:
        network = build_with_library(spec)
    else:
        network = build(spec.config, spec.name)
    new = _head_of(spec, network) if head else ()
    if not head:  # whose outputs mean what the weights were trained on
        network.named_classes = _named_classes(spec, checkpoint, file, trust_pickle)
    if file is not None:
        load_weights(network, file, trust_pickle=trust_pickle, prefix=prefix or spec.prefix, new=new)
    elif by_library and head and spec.own_classes is not None:
        own = build_with_library(replace(spec, config=with_classes(spec, spec.own_classes)))
        fill(network, own.state_dict(), spec.name, new=new)
    if spec.parts and checkpoint == RANDOM:
        _load_parts(network, spec, trust_pickle)
    elif checkpoint == RANDOM:
        return _checked(network, spec)
    network.is_init = True  # the Runner initializes at its start every module that does not say that it is
    return _checked(network, spec)


def _named_classes(spec: NetworkSpec, checkpoint: str, file: str | None, trust_pickle: bool) -> NamedClasses | None:
    """Who names the classes of the weights, and how; None where nobody does."""
    names = None if file is None else read_classes(locate(file), trust_pickle=trust_pickle)
    if names is not None:
        return NamedClasses(str(file), names)
    if checkpoint == OWN and spec.class_names is not None:
        return NamedClasses(spec.name, [str(name) for name in spec.class_names], by_library=True)
    return None


def _wrapped(module: nn.Module) -> ModuleClassifier:
    with DefaultScope.overwrite_default_scope('crld_zoo'):  # as for mmpretrain's classifiers
        return ModuleClassifier(module)


def _head_of(spec: NetworkSpec, network: nn.Module) -> list[str]:
    """The parameters whose shapes depend on the number of classes: those of the final classifier."""
    with torch.random.fork_rng(devices=[]):
        other = build(with_classes(spec, classes_of(spec) + 1), spec.name).state_dict()
    return [key for key, value in network.state_dict().items() if value.shape != other[key].shape]


def _load_parts(network: BaseClassifier, spec: NetworkSpec, trust_pickle: bool) -> None:
    network.init_weights()  # first all of it, as mmengine does
    for path, file, prefix in spec.parts:
        try:
            part = network.get_submodule(path)
        except AttributeError as error:
            raise InputError(f'init_cfg of {path} in {spec.name}: it has no such module to load {file} into') from error
        load_weights(part, file, trust_pickle=trust_pickle, prefix=prefix)


def _checked(network: nn.Module, spec: NetworkSpec) -> nn.Module:
    """The network, if it takes three channels and gives logits."""
    stem = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    channels = 3 if stem is None else stem.in_channels
    given = None if channels == 1 else _output(network, spec.size)
    if given is None and channels != 3:
        raise InputError(
            f'{spec.name} takes images of {channels} channel{"s" * (channels > 1)}; images here have three: build it '
            'with in_channels=3'
        )
    dims = 4 if getattr(network, 'is_dense', False) else 2
    if given is not None and not (isinstance(given, Tensor) and given.dim() == dims):
        shape = tuple(given.shape) if isinstance(given, Tensor) else f'{type(given).__name__} of {len(given)}'
        raise InputError(
            f'{spec.name} gives {shape} for a batch of two images: a classifier gives one tensor of logits (N, K); '
            'take another head'
        )
    if given is not None and given.shape[1] == 1:
        two_class_logits(network)
    return network


def _check_training(network: nn.Module, spec: NetworkSpec) -> None:
    """See that a student gives logits while it trains too: some have further outputs then, or refuse to be trained."""
    try:
        given = _output(network, spec.size, training=True)
    except NotImplementedError as error:
        raise InputError(
            f'{spec.name} cannot be trained ({error}): take it as a teacher, or take another head'
        ) from error
    if given is not None and not isinstance(given, Tensor):
        raise InputError(
            f'{spec.name} gives a {type(given).__name__} of {len(given)} while it trains: a student gives one tensor '
            'of logits (N, K); switch its further outputs off (aux_logits=False), or take another head'
        )


def _output(network: nn.Module, size: int | None, training: bool = False):
    """What the network gives for two images, by shapes alone; None where that cannot be found.

    Raises:
        NotImplementedError: It refuses to be trained.
    """
    mode = FakeTensorMode()
    with FakeCopyMode(mode):
        shapes = copy.deepcopy(network).train(training)
    with mode, torch.no_grad(), _without_log_of_fake_tensors():
        for side in [size] if size else _USUAL_SIZES:
            try:
                return shapes(torch.empty(2, 3, side, side))
            except NotImplementedError:
                if training:
                    raise
            except Exception:
                continue
    return None


@contextlib.contextmanager
def _without_log_of_fake_tensors() -> Iterator[None]:
    """A size that a network does not take is no error here, but PyTorch logs it as one, with a traceback."""
    logger = logging.getLogger('torch._subclasses.fake_tensor')
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def count_classes(network: nn.Module) -> int:
    """The number of outputs of a classifier from any source.

    Raises:
        InputError: It does not tell.
    """
    inner = getattr(network, 'model', None)
    for owner, name in (
        (network, 'num_classes'),
        (getattr(network, 'head', None), 'num_classes'),
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
