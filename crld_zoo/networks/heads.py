"""Heads that a method trains a student with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import MODELS


@MODELS.register_module()
class TeacherHead(LinearClsHead):
    r"""The teacher's classifier on the student's last map, projected to the teacher's channels, as SimKD has it.

    The projector is three convolutions, 1x1, 3x3 and 1x1, each with a batch norm and a ReLU. Its map is averaged over
    the positions and classified by the teacher's own linear layer, which is frozen. Both are part of the student and of
    its checkpoint.

    Args:
        num_classes: Of the student and the teacher.
        in_channels: Of the student's last map.
        teacher_channels: Of the teacher's last map.
        factor: By which the projector's middle is narrower than the teacher's map: 2, 4 or 8 in the paper.
        size: The side of the teacher's last map in positions, where the student's is larger: it is averaged to that
            size first. None leaves it as it is.
        **options: Those of mmpretrain's ``ClsHead``.

    Raises:
        InputError: ``factor`` leaves no channels.

    Example:
        >>> head = TeacherHead(num_classes=10, in_channels=8, teacher_channels=16).eval()
        >>> tuple(head((torch.zeros(2, 8, 4, 4),)).shape)
        (2, 10)
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        teacher_channels: int,
        factor: int = 2,
        size: int | None = None,
        **options,
    ) -> None:
        super().__init__(num_classes, teacher_channels, init_cfg=None, **options)
        middle = teacher_channels // factor if factor >= 1 else 0
        if not middle:
            raise InputError(
                f"TeacherHead: factor={factor} leaves none of the teacher's {teacher_channels} channels: 1, 2, 4 or 8."
            )
        self.projector = nn.Sequential(
            *_convolution(in_channels, middle, 1),
            *_convolution(middle, middle, 3),
            *_convolution(middle, teacher_channels, 1),
        )
        self.size = size
        self.fc.requires_grad_(False)
        self._complete = False

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """The embedding ``(N, C)`` of the last map: projected, averaged over the positions."""
        if self.training and not self._complete:
            raise InputError(
                "the student's TeacherHead has no teacher's classifier yet: train it with SimKD, or load its weights."
            )
        last = feats[-1]
        if self.size is not None and last.shape[-1] > self.size:
            last = F.adaptive_avg_pool2d(last, self.size)
        return self.projector(last).mean((2, 3))

    @torch.no_grad()
    def take_classifier(self, weight: Tensor, bias: Tensor) -> None:
        """Classify as the teacher does from now on.

        Args:
            weight: Of its linear layer, ``(K, C)``.
            bias: Of its linear layer, ``(K,)``.

        Raises:
            InputError: The teacher has other channels or classes.
        """
        if weight.shape != self.fc.weight.shape:
            raise InputError(
                f"the student's TeacherHead is made for {self.fc.in_features} channels and {self.fc.out_features} "
                f"classes, the teacher's classifier has {weight.shape[1]} and {weight.shape[0]}: set "
                f'head.teacher_channels={weight.shape[1]}.'
            )
        self.fc.weight.copy_(weight)
        self.fc.bias.copy_(bias)
        self._complete = True

    def init_weights(self) -> None:
        """Leave all as it is: the projector starts as torch has it, the classifier is the teacher's."""

    def _load_from_state_dict(self, *args, **options) -> None:
        super()._load_from_state_dict(*args, **options)
        self._complete = True


def _convolution(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
