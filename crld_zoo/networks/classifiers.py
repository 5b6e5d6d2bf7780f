"""Classifiers of torchvision, timm and transformers, as mmpretrain classifiers.

Each keeps the library's network under ``model`` and names its parameters as the library does, without that prefix, so
checkpoints pass in both directions.
"""

from __future__ import annotations

import inspect
import typing
from typing import Any

import torch
import torchvision
from mmpretrain.models import classifiers
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import MODELS


def take_versions_out(versions: dict, prefix: str, name: str) -> None:
    """Name the modules' versions of a state dict as its keys are named: without one level of the module tree.

    >>> versions = {'': 1, 'student': 2, 'student.layers': 3}
    >>> take_versions_out(versions, '', 'student')
    >>> versions
    {'': 2, 'layers': 3}
    """
    inner = f'{prefix}{name}'
    for path in [path for path in versions if f'{path}.'.startswith(f'{inner}.')]:
        versions[f'{prefix}{path.removeprefix(inner).lstrip(".")}'.rstrip('.')] = versions.pop(path)


def put_versions_in(versions: dict | None, prefix: str, name: str) -> None:
    """The inverse of :func:`take_versions_out`; the dict is the caller's, so its own entries stay for its next use.

    >>> versions = {'': 2, 'layers': 3}
    >>> put_versions_in(versions, '', 'student')
    >>> versions
    {'': 2, 'layers': 3, 'student': 2, 'student.layers': 3}
    """
    if versions is None:
        return
    for path, version in list(versions.items()):
        if f'{path}.'.startswith(prefix):
            versions.setdefault(f'{prefix}{name}.{path.removeprefix(prefix[:-1]).lstrip(".")}'.rstrip('.'), version)


class LibraryNames:
    """State-dict hooks that leave ``model.`` out of the parameters' names and put it back.

    mmpretrain's own hooks (1.2.0) hand back a new dict when saving, which torch ignores for a module inside another:
    the checkpoint of a student then had the prefix, and loading it doubled it. These change the dict in place, and the
    versions of the modules with it, without which torchvision's MNASNet cannot be loaded.
    """

    @staticmethod
    def _remove_state_dict_prefix(module: nn.Module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
        inner = f'{prefix}model.'
        for key in [key for key in state_dict if key.startswith(inner)]:
            state_dict[prefix + key.removeprefix(inner)] = state_dict.pop(key)
        take_versions_out(getattr(state_dict, '_metadata', {}), prefix, 'model')

    @staticmethod
    def _add_state_dict_prefix(state_dict: dict, prefix: str, *_) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            state_dict[f'{prefix}model.{key.removeprefix(prefix)}'] = state_dict.pop(key)
        put_versions_in(getattr(state_dict, '_metadata', None), prefix, 'model')


@MODELS.register_module()
class TimmClassifier(LibraryNames, classifiers.TimmClassifier):
    """mmpretrain's classifier around a timm model; also inside another module its checkpoints are timm's."""


@MODELS.register_module()
class HuggingFaceClassifier(LibraryNames, classifiers.HuggingFaceClassifier):
    """mmpretrain's classifier around a transformers model; also inside another module its checkpoints are theirs.

    Args:
        model_name: A repository or a local folder.
        pretrained: Whether to load its weights, all of them.
        *args: As for mmpretrain's classifier.
        **kwargs: As for mmpretrain's classifier.

    Raises:
        InputError: The weights leave a part of the network random, of which transformers only warns.
    """

    model: nn.Module

    def __init__(self, model_name: str, pretrained: bool = False, *args, **kwargs):
        super().__init__(model_name, False, *args, **kwargs)
        if pretrained:
            from transformers import AutoModelForImageClassification

            self.model, info = AutoModelForImageClassification.from_pretrained(
                model_name, config=self.model.config, output_loading_info=True
            )
            random = sorted(map(str, (*info['missing_keys'], *info['mismatched_keys'])))
            if random:
                raise InputError(
                    f'hf::{model_name} is no trained classifier: its weights lack {", ".join(random[:10])}'
                )


@MODELS.register_module()
class TorchvisionClassifier(LibraryNames, classifiers.TimmClassifier):
    """A classifier around a torchvision model, the counterpart of mmpretrain's ``TimmClassifier``.

    Args:
        model_name: A name of ``torchvision.models.list_models()``.
        num_classes: The number of outputs.
        loss: The config of the classification loss.
        train_cfg: As for mmpretrain's classifiers, ``augments`` among it.
        data_preprocessor: As for mmpretrain's classifiers.
        init_cfg: As for mmpretrain's classifiers.
        **kwargs: Further arguments of ``torchvision.models.get_model``.
    """

    def __init__(
        self,
        model_name: str,
        num_classes: int = 1000,
        *,
        loss: dict | nn.Module | None = None,
        train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        **kwargs,
    ):
        data_preprocessor = {'type': 'ClsDataPreprocessor', **(data_preprocessor or {})}
        if train_cfg is not None and 'augments' in train_cfg:
            data_preprocessor['batch_augments'] = train_cfg
        # TimmClassifier's losses and predictions serve any network under ``model``; its constructor would build timm's.
        classifiers.BaseClassifier.__init__(self, init_cfg=init_cfg, data_preprocessor=data_preprocessor)
        if kwargs.get('aux_logits'):
            raise InputError(f'aux_logits=True of {model_name}: a classifier here gives one output, so leave it out')
        network = typing.get_type_hints(torchvision.models.get_model_builder(model_name))['return']
        if 'aux_logits' in inspect.signature(network).parameters:
            kwargs = dict(aux_logits=False, init_weights=True) | kwargs
        self.model = torchvision.models.get_model(model_name, weights=None, num_classes=num_classes, **kwargs)
        self.num_classes = num_classes
        self.loss_module = loss if isinstance(loss, nn.Module) else MODELS.build(loss or dict(type='CrossEntropyLoss'))
        self._register_state_dict_hook(self._remove_state_dict_prefix)
        self._register_load_state_dict_pre_hook(self._add_state_dict_prefix)


@MODELS.register_module()
class TorchvisionSegmenter(LibraryNames, classifiers.TimmClassifier):
    """A torchvision segmentation network: logits ``(N, K, H, W)`` of the images' size, for the distiller ``Dense``.

    Args:
        model_name: A name of ``torchvision.models.list_models(torchvision.models.segmentation)``.
        num_classes: The number of classes.
        weights_backbone: Which weights its backbone starts from, downloaded: ``'DEFAULT'`` or a name of torchvision's;
            None for random ones.
        data_preprocessor: As for mmpretrain's classifiers.
        **kwargs: Further arguments of ``torchvision.models.get_model``; ``aux_loss=True`` builds the auxiliary head
            too, which pretrained weights have and nothing here trains.
    """

    is_dense = True

    def __init__(
        self,
        model_name: str,
        num_classes: int = 21,
        *,
        weights_backbone: str | None = None,
        data_preprocessor: dict | None = None,
        **kwargs,
    ):
        classifiers.BaseClassifier.__init__(
            self, data_preprocessor={'type': 'ClsDataPreprocessor', **(data_preprocessor or {})}
        )
        self.model = torchvision.models.get_model(
            model_name, weights=None, weights_backbone=weights_backbone, num_classes=num_classes, **kwargs
        )
        self.num_classes = num_classes
        self._register_state_dict_hook(self._remove_state_dict_prefix)
        self._register_load_state_dict_pre_hook(self._add_state_dict_prefix)

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Tensor:
        """The logits ``(N, K, H, W)``."""
        if mode != 'tensor':
            raise InputError(f"TorchvisionSegmenter: mode must be 'tensor', not {mode!r}: train it with Distillation.")
        return self.model(inputs)['out']


class ModuleClassifier(LibraryNames, classifiers.TimmClassifier):
    """Any module that gives logits ``(N, K)`` for images, as an mmpretrain classifier.

    Args:
        model: The module; its parameters keep their names.
        data_preprocessor: As for mmpretrain's classifiers.
    """

    def __init__(self, model: nn.Module, *, data_preprocessor: dict | None = None):
        classifiers.BaseClassifier.__init__(
            self, data_preprocessor={'type': 'ClsDataPreprocessor', **(data_preprocessor or {})}
        )
        self.model = model
        self.loss_module = MODELS.build(dict(type='CrossEntropyLoss'))
        self._register_state_dict_hook(self._remove_state_dict_prefix)
        self._register_load_state_dict_pre_hook(self._add_state_dict_prefix)


def two_class_logits(network: Any) -> None:
    """Have a network with one output ``z``, the logit of the second of two classes, give the logits ``(0, z)``.

    Their softmax is ``(1 - sigmoid(z), sigmoid(z))``.
    """
    network.register_forward_hook(_add_zero)
    network.num_classes = 2


def _add_zero(network: nn.Module, images: tuple, logits: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(logits), logits], 1)
