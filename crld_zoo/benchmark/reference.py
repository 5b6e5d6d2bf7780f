"""The reference protocol: the usual way to train with CRLD, written from its description.

Both views of every image are made with Pillow in the loader's workers, one image at a time, and stacked by PyTorch's
default collate function. Networks run in float32 with contiguous images, each view by itself in the teacher as in the
student. The four pairs of predictions are compared one after the other, MLLD temperature by temperature. The loss is
read every step.
"""

from __future__ import annotations

import functools
from collections.abc import Generator
from random import Random
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from crld_zoo.distillers import CRLD, MLLD, Prediction
from crld_zoo.distillers.decorators.crld import confident
from crld_zoo.distillers.logits.mlld import FURTHER_TEMPERATURES, mlld_loss
from crld_zoo.errors import InputError
from crld_zoo.registry import DATASETS, MODELS
from crld_zoo.views.reference import pil_weak_strong

from .setup import with_options

_WEAK = ('RandomCrop', 'RandomFlip')
_PAIR = dict(weak=_WEAK, strong=(*_WEAK, 'RandAugment', 'Cutout'))


def pil_options(preprocessor: Any) -> dict | None:
    """Arguments of :func:`~crld_zoo.views.reference.pil_weak_strong` that make a preprocessor's own pair of views.

    None where its views are another pair than CRLD's, which Pillow would have to be asked for otherwise.
    """
    views = getattr(preprocessor, 'views', None)
    if views is None:
        return None
    kinds = {
        name: tuple(type(operation).__name__ for operation in operations)
        for name, operations in zip(views.names, views.pipelines, strict=True)
    }
    if kinds != _PAIR:
        return None
    crops = {(operations[0].output_size, operations[0].padding) for operations in views.pipelines}
    if len(crops) > 1:
        return None
    (((height, width), padding),) = crops
    if height != width:
        return None
    return dict(
        size=height,
        padding=padding,
        mean=[value / 255 for value in preprocessor.mean],
        std=[value / 255 for value in preprocessor.std],
    )


class PilPairs(Dataset):
    """One image at a time as ``(weak, strong, label)``, the views made with Pillow.

    Args:
        images: uint8 ``(M, 3, H, W)``.
        labels: ``(M,)``.
        options: What :func:`pil_options` gave.
    """

    def __init__(self, images: Tensor, labels: Tensor, options: dict) -> None:
        self.images = images.permute(0, 2, 3, 1).numpy()
        self.labels = labels.tolist()
        self.options = options
        self.rng = Random(0)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        weak, strong = pil_weak_strong(Image.fromarray(self.images[index]), self.rng, **self.options)
        return weak, strong, self.labels[index]


def one_by_one(
    distiller: nn.Module, student: dict[str, Prediction], teacher: dict[str, Prediction], target: Tensor
) -> Tensor:
    """The distiller's total loss, computed without stacking pairs or temperatures.

    Equal to the sum of what the distiller gives. One that is no CRLD is called as it is.
    """
    if not isinstance(distiller, CRLD):
        return sum(loss for name, loss in distiller(student, teacher, target).items() if 'loss' in name)

    def pair(s: str, t: str) -> Tensor:
        inner = distiller.distiller
        if not isinstance(inner, MLLD):
            return inner.pair(student[s], teacher[t], target)
        losses = (
            mlld_loss(student[s].logits, teacher[t].logits, temperatures=[temperature])
            for temperature in (inner.temperature, *FURTHER_TEMPERATURES)
        )
        return functools.reduce(torch.add, losses)

    weak, strong = (
        confident(teacher[name].logits, tau) for name, tau in (('weak', distiller.tau_w), ('strong', distiller.tau_s))
    )
    label = distiller.label_loss(student, target)
    d_ww, d_ss = pair('weak', 'weak'), pair('strong', 'strong')
    d_sw, d_ws = pair('strong', 'weak'), pair('weak', 'strong')
    if distiller.mask_by == 'term':
        within, across = weak * (d_ww + d_ss), strong * (d_sw + d_ws)
    else:
        within, across = weak * d_ww + strong * d_ss, weak * d_sw + strong * d_ws
    return label + distiller.wv_weight * within.mean() + distiller.cv_weight * across.mean()


class ReferenceTraining:
    """The protocol's training loop.

    Args:
        cfg: The recipe, as :func:`~crld_zoo.benchmark.setup.measured_config` gives it.

    Raises:
        InputError: The recipe has no pair of views that Pillow can make the same way, or its images are not in memory.
    """

    def __init__(self, cfg: Config) -> None:
        init_default_scope(cfg.get('default_scope', 'crld_zoo'))
        model = cfg.model.to_dict()
        model['data_preprocessor']['channels_last'] = False
        model.update(compile=None, graph=False)
        if model.get('teacher') is not None:
            model['teacher'] = with_options(model['teacher'], fold=False, compile=None, dtype=None)
        self.model = MODELS.build(model)
        self.device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self.model.to(self.device).train()
        self.optimizer = build_optim_wrapper(
            self.model, dict(type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer.to_dict())
        ).optimizer
        options = pil_options(self.model.data_preprocessor)
        dataset = DATASETS.build(cfg.train_dataloader.dataset.to_dict())
        if options is None or set(self.model.distiller.views) != set(_PAIR):
            raise InputError(
                'the reference protocol is that of a weak and a strong view as CRLD makes them '
                '(RandomCrop, RandomFlip; RandAugment, Cutout): this recipe trains on other views.'
            )
        if not isinstance(getattr(dataset, 'images', None), Tensor):
            raise InputError('the reference protocol is compared on images in memory, and this recipe reads files.')
        self.pairs = PilPairs(dataset.images.cpu(), dataset.labels.cpu(), options)
        self.batch_size = cfg.train_dataloader.batch_size

    def batches(self, workers: int) -> Generator[list[Tensor], None, None]:
        """Batches ``[weak, strong, target]`` without end, from a loader with so many workers."""
        while True:
            yield from DataLoader(
                self.pairs,
                self.batch_size,
                shuffle=True,
                drop_last=True,
                num_workers=workers,
                pin_memory=self.device.type == 'cuda',
            )

    def step(self, batch: list[Tensor]) -> float:
        """One training step; the loss."""
        weak, strong, target = (part.to(self.device) for part in batch)
        views = dict(weak=weak, strong=strong)
        student = {name: Prediction(self.model.student(view, mode='tensor')) for name, view in views.items()}
        with torch.no_grad():
            teacher = {name: Prediction(self.model.teacher(view)) for name, view in views.items()}
        loss = one_by_one(self.model.distiller, student, teacher, target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()
