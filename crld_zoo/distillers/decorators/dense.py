"""Semantic segmentation: the pixels are the samples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import UNLABELED, Decorator, Distiller, PairDistiller, Prediction, Predictions


def pixels(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The logits ``(N, K, h, w)`` of each pixel of images of a size, ``(N H W, K)``, resized bilinearly where they are
    of another.

    Example:
        >>> pixels(torch.zeros(2, 21, 4, 4), (8, 8)).shape
        torch.Size([128, 21])
    """
    if logits.shape[2:] != size:
        logits = F.interpolate(logits, size, mode='bilinear', align_corners=False)
    return logits.movedim(1, -1).flatten(0, 2)


@DISTILLERS.register_module()
class Dense(Decorator):
    """A decorator: any loss that takes each sample by itself distills a segmentation network, pixel by pixel.

    Logits are ``(N, K, h, w)``, labels ``(N, H, W)``; logits of another size are resized to the labels'. Pixels of the
    class ``ignore_index`` have no label: they have no part in the cross-entropy, and count in the held loss as any
    sample without a label, as of the teacher's class. Logits ``(N, K)`` pass as they are. It is outermost:
    ``Dense(LogitStandardization(KD))``.

    Args:
        distiller: Config of the distiller to decorate, or the distiller, such as KD, DKD or LogitStandardization.
        ignore_index: The class that stands for none, as 255 in VOC and Cityscapes.

    Raises:
        InputError: The distiller compares samples or looks inside of the networks; or the labels are no maps.

    Example:
        >>> Dense(dict(type='KD')).distiller.kd_weight
        0.9
    """

    needs_logits = True

    def __init__(self, distiller: dict | Distiller, ignore_index: int = 255) -> None:
        distiller = DISTILLERS.build(distiller) if isinstance(distiller, dict) else distiller
        super().__init__(distiller)
        held: PairDistiller = self.distiller
        if not held.per_sample or held.student_taps or held.teacher_taps or held.needs_images:
            why = 'looks inside of the networks' if held.per_sample else 'compares the samples of a batch'
            raise InputError(f'Dense cannot decorate {type(held).__name__}, which {why}: take KD, DKD or NKD.')
        self.ignore_index, self.ce_weight, self.label_smoothing = ignore_index, held.ce_weight, held.label_smoothing
        self.views, self.label_views = held.views, held.label_views

    @property
    def student_views(self) -> tuple[str, ...]:
        return self.distiller.student_views

    @property
    def teacher_views(self) -> tuple[str, ...]:
        return self.distiller.teacher_views

    def forward(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        return self.distiller(*self.flattened(student, teacher, target))

    def observe(self, student: Predictions, teacher: Predictions, target: Tensor) -> None:
        self.distiller.observe(*self.flattened(student, teacher, target))

    def flattened(
        self, student: Predictions, teacher: Predictions, target: Tensor
    ) -> tuple[Predictions, Predictions, Tensor]:
        """Predictions and labels with a row for each pixel."""
        logits = next(iter(student.values())).logits
        if logits.dim() == 4 and (target.dim() != 3 or target.is_floating_point()):
            raise InputError(
                f'Dense needs the class of each pixel, (N, H, W), but the labels have shape {tuple(target.shape)} and '
                f'type {target.dtype}.'
            )
        student, teacher = (
            {view: self._rows(prediction, target) for view, prediction in views.items()} for views in (student, teacher)
        )
        return student, teacher, torch.where(target == self.ignore_index, UNLABELED, target).flatten()

    @staticmethod
    def _rows(prediction: Prediction, target: Tensor) -> Prediction:
        if prediction.logits.dim() != 4:
            return prediction
        samples = prediction.samples
        return Prediction(
            pixels(prediction.logits, (target.shape[1], target.shape[2])),
            samples=None if samples is None else samples.repeat_interleave(target[0].numel()),
        )
