"""ResNets for images of 32 pixels, with three stages of basic blocks."""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock

from crld_zoo.errors import InputError
from crld_zoo.registry import MODELS


@MODELS.register_module()
class CIFARResNet(ResNet_CIFAR):
    """The ResNet that `Deep Residual Learning <https://arxiv.org/abs/1512.03385>`_ trains on CIFAR, section 4.2.

    A 3x3 stem, then three stages of ``(depth - 2) / 6`` basic blocks at full, half and a quarter of the resolution,
    with 1x1 convolutions as shortcuts where the shape changes. ResNet8x4 and ResNet32x4 of the distillation
    literature have ``widths=(32, 64, 128, 256)``.

    Args:
        depth: 6 n + 2: 8, 14, 20, 32, 44, 56, 110.
        widths: The channels of the stem and of the three stages; each stage has twice those of the one before.
        out_indices: The stages, 0-2, whose maps are given out.
        zero_init_residual: Whether each block starts as the identity. The reference networks do not.
        **kwargs: Further options of mmpretrain's ``ResNet``.

    Raises:
        InputError: The depth is not 6 n + 2, or the widths do not double.
    """

    arch_settings = {depth: (BasicBlock, ((depth - 2) // 6,) * 3) for depth in range(8, 1203, 6)}

    def __init__(
        self,
        depth: int,
        widths: Sequence[int] = (16, 16, 32, 64),
        out_indices: Sequence[int] = (2,),
        zero_init_residual: bool = False,
        **kwargs,
    ):
        if depth not in self.arch_settings:
            raise InputError(f'depth={depth} of CIFARResNet: 6 n + 2, for example 8, 20, 32, 56, 110')
        if len(widths) != 4 or list(widths[2:]) != [2 * widths[1], 4 * widths[1]]:
            raise InputError(
                f'widths={tuple(widths)} of CIFARResNet: the stem, then three stages, each of twice the '
                'channels of the one before, for example (16, 16, 32, 64)'
            )
        super().__init__(
            depth,
            stem_channels=widths[0],
            base_channels=widths[1],
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            out_indices=out_indices,
            zero_init_residual=zero_init_residual,
            **kwargs,
        )

    def train(self, mode: bool = True) -> CIFARResNet:
        """Set the mode; mmpretrain's method returns None, which ends a chain of calls."""
        super().train(mode)
        return self
