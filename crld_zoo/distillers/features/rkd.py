"""Relational knowledge distillation (Park et al., CVPR 2019, arXiv 1904.05068)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import require_nonnegative, require_positive
from .maps import MapDistiller, over_maps, require_two, unit


@over_maps()
def rkd_loss(
    embeddings_s: Sequence[Tensor],
    embeddings_t: Sequence[Tensor],
    *,
    distance_weight: float,
    angle_weight: float,
    eps: float,
) -> Tensor:
    """``w_d mean over N^2 of h(D_s - D_t) + w_a mean over N^3 of h(A_s - A_t)``, ``h`` Huber's loss with delta 1.

    ``D`` is the distance of two samples over the mean distance of the batch (eq. 5), the student's mean with its
    gradient; ``A`` is the cosine of the angle at a sample between two others (eq. 8). A sample's distance to itself and
    angles with a side of length 0 are 0, and count in the means.

    Args:
        embeddings_s: The student's embeddings ``(N, C)``, or a list of them, which are summed over; maps count as flat.
        embeddings_t: The teacher's; a constant. Widths may differ.
        distance_weight: ``w_d``.
        angle_weight: ``w_a``.
        eps: The least squared distance of two samples; nearer ones are that far apart, without gradient.

    Returns:
        The loss of the batch, expanded to ``(N,)``.

    Raises:
        InputError: The lists do not fit, or the batch has one sample.

    Example:
        >>> x = torch.rand(4, 8)
        >>> loss = rkd_loss(x, 3 * x + 1, distance_weight=25.0, angle_weight=50.0, eps=1e-12)
        >>> loss.max() < 1e-6  # neither scale nor place counts
        tensor(True)
    """
    require_two('RKD', embeddings_s[0])
    n = len(embeddings_s[0])
    others = 1 - torch.eye(n, dtype=embeddings_s[0].dtype, device=embeddings_s[0].device)

    def relations(embedding: Tensor) -> tuple[Tensor, Tensor]:
        flat = embedding.flatten(1)
        sides = flat[None] - flat[:, None]  # differences, not products: equal samples are exactly 0 apart
        length = sides.norm(dim=2, keepdim=True)
        distance = others * length.squeeze(2).clamp(min=eps**0.5)
        directions = unit(sides, length=length)
        return distance / (distance.sum() / (n * (n - 1))), directions @ directions.mT

    def difference(embedding_s: Tensor, embedding_t: Tensor) -> Tensor:
        (distance_s, angle_s), (distance_t, angle_t) = relations(embedding_s), relations(embedding_t)
        of_distances = distance_weight * F.smooth_l1_loss(distance_s, distance_t)
        return of_distances + angle_weight * F.smooth_l1_loss(angle_s, angle_t)

    return functools.reduce(torch.add, map(difference, embeddings_s, embeddings_t)).expand(n)


@DISTILLERS.register_module()
class RKD(MapDistiller):
    """Distances and angles between the samples of a batch become the teacher's (RKD; Park et al., CVPR 2019).

    The defaults are those of CIFAR-100 in megvii-research/mdistiller and HobbitLong/RepDistiller. Equal samples have a
    finite gradient, where the published code has one of 1e12. The batch is that of its own process; memory grows with
    its square times the width.

    Args:
        distance_weight: Weight of the distances.
        angle_weight: Weight of the angles.
        eps: The least squared distance of two samples, above 0.
        taps: The student's embedding; any map or tokens will do.
        kd_weight: Weight of both.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Example:
        >>> RKD(angle_weight=0.0).distance_weight
        25.0
    """

    needs_two = True
    per_sample = False

    def __init__(
        self,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
        eps: float = 1e-12,
        taps: Sequence[str] = ('embedding',),
        kd_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(taps=taps, kd_weight=kd_weight, **options)
        require_nonnegative(self, distance_weight=distance_weight, angle_weight=angle_weight)
        require_positive(self, eps=eps)
        self.distance_weight, self.angle_weight, self.eps = distance_weight, angle_weight, eps

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        return rkd_loss(
            maps_s, maps_t, distance_weight=self.distance_weight, angle_weight=self.angle_weight, eps=self.eps
        )
