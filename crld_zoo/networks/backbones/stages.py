"""What the backbones of this folder share: the choice of the feature maps that they give out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor

from crld_zoo.errors import InputError

KAIMING = [dict(type='Kaiming', layer='Conv2d'), dict(type='Constant', val=1, layer='BatchNorm2d')]
"""The initialization of the reference networks (normal, by the fan out, for ReLU), as mmengine's ``init_cfg``."""


class StagedBackbone(BaseBackbone):
    """A backbone that runs stage after stage and gives out the maps that ``out_indices`` names.

    Args:
        out_indices: The stages whose maps are given out; negative ones count from the last.
        stages: How many stages there are.
        init_cfg: mmengine's config of the initialization; torch's own if None.

    Raises:
        InputError: There is no such stage.
    """

    stage_taps: Sequence[str] = ()
    """Paths of what ends the stages of :mod:`crld_zoo.networks.taps`, where the rules there do not find it."""

    def __init__(self, out_indices: Sequence[int], stages: int, init_cfg: dict | list | None):
        super().__init__(init_cfg)
        if not out_indices or not all(-stages <= index < stages for index in out_indices):
            raise InputError(f'out_indices={tuple(out_indices)} of {type(self).__name__}: some of 0-{stages - 1}')
        self.out_indices = {index % stages for index in out_indices}

    @abstractmethod
    def maps(self, x: Tensor) -> Iterator[Tensor]:
        """The map of each stage, one after the other."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The chosen maps ``(N, C, h, w)`` of images ``(N, 3, H, W)``, in the order of the stages."""
        return tuple(out for index, out in enumerate(self.maps(x)) if index in self.out_indices)

    def train(self, mode: bool = True) -> StagedBackbone:
        """Set the mode; mmpretrain's backbones return None from it, which ends a chain of calls."""
        super().train(mode)
        return self
