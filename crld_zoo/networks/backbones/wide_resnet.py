"""Wide ResNets for images of 32 pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import MODELS

from .stages import KAIMING, StagedBackbone


class PreActivationBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU.

    Where the width changes, a 1x1 shortcut starts from the activated input; else the input passes unchanged.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.dropout = dropout
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        out = F.relu(self.bn2(self.conv1(active)))
        out = self.conv2(F.dropout(out, self.dropout, self.training))
        return out + (x if self.shortcut is None else self.shortcut(active))


@MODELS.register_module()
class WideResNet(StagedBackbone):
    """WRN-d-k of `Wide Residual Networks <https://arxiv.org/abs/1605.07146>`_.

    Three stages of ``(depth - 4) / 6`` pre-activation blocks with 16 k, 32 k and 64 k channels. The last map is
    normalized and activated, the others are not.

    Args:
        depth: 6 n + 4: 16, 28, 40.
        widen_factor: k.
        dropout: The probability of dropping an activation between the two convolutions of a block.
        out_indices: The stages, 0-2, whose maps are given out.
        init_cfg: mmengine's config of the initialization.

    Raises:
        InputError: The depth is not 6 n + 4.
    """

    stage_taps = ('block1', 'block2', 'block3')  # signed, as published methods on features take them

    def __init__(
        self,
        depth: int,
        widen_factor: int = 1,
        dropout: float = 0.0,
        out_indices: Sequence[int] = (2,),
        init_cfg: dict | list | None = KAIMING,
    ):
        super().__init__(out_indices, 3, init_cfg)
        if depth < 10 or (depth - 4) % 6:
            raise InputError(f'depth={depth} of WideResNet: 6 n + 4, for example 16, 28, 40')
        blocks = (depth - 4) // 6
        channels = 16
        self.conv1 = nn.Conv2d(3, channels, 3, 1, 1, bias=False)
        for stage, stride in ((1, 1), (2, 2), (3, 2)):
            width = 8 * 2**stage * widen_factor
            self.add_module(
                f'block{stage}',
                nn.Sequential(
                    PreActivationBlock(channels, width, stride, dropout),
                    *(PreActivationBlock(width, width, 1, dropout) for _ in range(blocks - 1)),
                ),
            )
            channels = width
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.feat_dim = channels

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        yield (x := self.block1(self.conv1(x)))
        yield (x := self.block2(x))
        yield self.relu(self.bn1(self.block3(x)))
