"""Classifiers of torchvision, timm and transformers, as mmpretrain classifiers.

Each keeps the library's network under ``model`` and names its parameters as the library does, without that prefix, so
checkpoints pass in both directions.
"""

from __future__ import annotations

import torchvision
from mmpretrain.models import classifiers
from torch import nn

from crld_zoo.errors import InputError
from crld_zoo.registry import MODELS


class _LibraryNames:
    """State-dict hooks that leave ``model.`` out of the parameters' names and put it back.

    mmpretrain's own hooks (1.2.0) hand back a new dict when saving, which torch ignores for a module inside another:
    the checkpoint of a student then had the prefix, and loading it doubled it. These change the dict in place.
    """

    @staticmethod
    def _remove_state_dict_prefix(module: nn.Module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
        inner = f'{prefix}model.'
        for key in [key for key in state_dict if key.startswith(inner)]:
            state_dict[prefix + key.removeprefix(inner)] = state_dict.pop(key)

    @staticmethod
    def _add_state_dict_prefix(state_dict: dict, prefix: str, *_) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            state_dict[f'{prefix}model.{key.removeprefix(prefix)}'] = state_dict.pop(key)


@MODELS.register_module()
class TimmClassifier(_LibraryNames, classifiers.TimmClassifier):
    """mmpretrain's classifier around a timm model; also inside another module its checkpoints are timm's."""


@MODELS.register_module()
class HuggingFaceClassifier(_LibraryNames, classifiers.HuggingFaceClassifier):
    """mmpretrain's classifier around a transformers model; also inside another module its checkpoints are theirs.

    Args:
        model_name: A repository or a local folder.
        pretrained: Whether to load its weights, all of them.
        *args: As for mmpretrain's classifier.
        **kwargs: As for mmpretrain's classifier.

    Raises:
        InputError: The weights leave a part of the network random, of which transformers only warns.
    """

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
class TorchvisionClassifier(_LibraryNames, classifiers.TimmClassifier):
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
        self.model = torchvision.models.get_model(model_name, weights=None, num_classes=num_classes, **kwargs)
        self.num_classes = num_classes
        self.loss_module = loss if isinstance(loss, nn.Module) else MODELS.build(loss or dict(type='CrossEntropyLoss'))
        self._register_state_dict_hook(self._remove_state_dict_prefix)
        self._register_load_state_dict_pre_hook(self._add_state_dict_prefix)
