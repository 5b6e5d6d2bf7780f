"""VGGs with batch norm for images of 32 and 64 pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import MODELS

from .stages import KAIMING, StagedBackbone

CONVOLUTIONS = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""By depth, the convolutions of the five stages. VGG8 counts its classifier, the others the three of VGG."""

WIDTHS = (64, 128, 256, 512, 512)


@MODELS.register_module()
class CIFARVGG(StagedBackbone):
    """VGG8 and VGG13 (also 11, 16, 19) with batch norm, as the distillation literature runs them on CIFAR.

    Five stages of 3x3 convolutions, halved in between, except that the last two share a resolution below 64 pixels.
    The neck pools what remains, and one linear layer classifies. For the family see `Very Deep Convolutional Networks
    <https://arxiv.org/abs/1409.1556>`_.

    Args:
        depth: 8, 11, 13, 16 or 19.
        out_indices: The stages, 0-4, whose maps are given out.
        init_cfg: mmengine's config of the initialization.

    Raises:
        InputError: There is no such depth.
    """

    stage_taps = ('block1', 'block2', 'block3', 'block4')

    def __init__(self, depth: int, out_indices: Sequence[int] = (4,), init_cfg: dict | list | None = KAIMING):
        super().__init__(out_indices, 5, init_cfg)
        if depth not in CONVOLUTIONS:
            raise InputError(f'depth={depth} of CIFARVGG: one of {", ".join(map(str, CONVOLUTIONS))}')
        channels = 3
        for stage, (count, width) in enumerate(zip(CONVOLUTIONS[depth], WIDTHS, strict=True)):
            layers = []
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
            self.add_module(f'block{stage}', nn.Sequential(*layers))
        self.feat_dim = channels

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        small = x.shape[-1] < 64
        yield (x := self.block0(x))
        yield (x := self.block1(F.max_pool2d(x, 2)))
        yield (x := self.block2(F.max_pool2d(x, 2)))
        yield (x := self.block3(F.max_pool2d(x, 2)))
        yield self.block4(x if small else F.max_pool2d(x, 2))
