"""Variational information distillation (Ahn et al., CVPR 2019, arXiv 1904.05835)."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crld_zoo.registry import DISTILLERS

from ..base import Networks, Predictions, require_positive
from .maps import STAGES, MapDistiller, over_maps, same_size


@over_maps(pool=True, same_channels=True)
def vid_loss(maps_s: Sequence[Tensor], maps_t: Sequence[Tensor], log_scales: Sequence[Tensor], *, eps: float) -> Tensor:
    """``sum over stages of mean 0.5 ((mu(F_s) - F_t)^2 / v + log v)``, ``v = log(1 + exp(rho)) + eps`` a channel.

    The negative log-likelihood of the teacher's maps under a normal distribution (eqs. 5 and 6), without its constant
    ``log(2 pi) / 2``: it can be negative.

    Args:
        maps_s: The means, ``(N, C, h, w)`` each: the student's maps after the regressor. Of two sizes, the larger map
            is averaged to the smaller.
        maps_t: The teacher's maps, of as many channels; a constant.
        log_scales: ``rho`` of each channel, ``(C,)`` a stage.
        eps: The least variance.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The lists or the channels do not fit.

    Example:
        >>> means = maps_t = [torch.zeros(2, 3, 4, 4)]
        >>> variance_1 = [torch.full((3,), math.log(math.e - 1))]
        >>> vid_loss(means, maps_t, variance_1, eps=0.0).abs().max() < 1e-6
        tensor(True)
    """

    def likelihood(map_s: Tensor, map_t: Tensor, log_scale: Tensor) -> Tensor:
        variance = F.softplus(log_scale) + eps
        squares = (map_s - map_t).square().sum((2, 3)) / map_s[0, 0].numel()  # as in mean_square
        return 0.5 * (squares / variance + variance.log()).mean(1)

    return functools.reduce(torch.add, itertools.starmap(likelihood, zip(maps_s, maps_t, log_scales, strict=True)))


@DISTILLERS.register_module()
class VID(MapDistiller):
    """The student's maps tell the teacher's: a bound of their mutual information (Ahn et al., CVPR 2019).

    The defaults are those of CIFAR-100 in megvii-research/mdistiller and HobbitLong/RepDistiller. The variances train,
    as in the paper and in RepDistiller; mdistiller leaves them at their first value by an oversight. A transformer's
    tokens count as a map.

    Args:
        init_pred_var: The first variance of each channel, above ``eps``.
        eps: The least variance.
        taps: The student's maps; networks for ImageNet have a ``'stage4'`` as well.
        kd_weight: Weight of the likelihood.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Example:
        >>> VID(init_pred_var=1.0).kd_weight
        1.0
    """

    def __init__(
        self,
        init_pred_var: float = 5.0,
        eps: float = 1e-5,
        taps: Sequence[str] = STAGES,
        kd_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(taps=taps, kd_weight=kd_weight, **options)
        require_positive(self, eps=eps, init_pred_var_less_eps=init_pred_var - eps)
        self.init_pred_var, self.eps = init_pred_var, eps
        self.log_scales = nn.ParameterList()

    def projection(self, map_s: Tensor, map_t: Tensor) -> nn.Module:
        c_s, c_t = map_s.shape[1], map_t.shape[1]
        sizes = ((c_s, c_t), (c_t, c_t), (c_t, c_t))
        layers = [layer for size in sizes for layer in (nn.Conv2d(*size, 1, bias=False), nn.ReLU())]
        return nn.Sequential(*layers[:-1])

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        super().setup(student, teacher, networks)
        rho = math.log(math.expm1(self.init_pred_var - self.eps))
        self.log_scales = nn.ParameterList(
            torch.full((map_t.shape[1],), rho) for map_t in self._of(teacher[self.teacher_view], self.teacher_taps)
        )

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        # Averaged before the regressor, which is not linear.
        pairs = list(map(same_size, maps_s, maps_t))
        own = self.project([map_s for map_s, _ in pairs])
        return vid_loss(own, [map_t for _, map_t in pairs], list(self.log_scales), eps=self.eps)
