"""Probabilistic knowledge transfer (Passalis and Tefas, ECCV 2018, arXiv 1803.10837)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import require_positive
from .maps import MapDistiller, over_maps, require_two, unit


@over_maps()
def pkt_loss(embeddings_s: Sequence[Tensor], embeddings_t: Sequence[Tensor], *, eps: float) -> Tensor:
    """``mean over N^2 of q_t log((q_t + eps) / (q_s + eps))``, ``q`` the rows' shares of ``(cos(x_i, x_j) + 1) / 2``.

    Each sample's similarities to the batch, itself among them, are made a distribution with the cosine kernel (eqs. 4
    to 6). The published code averages over all pairs where the paper sums.

    Args:
        embeddings_s: The student's embeddings ``(N, C)``, or a list of them, which are summed over; maps count as flat.
        embeddings_t: The teacher's; a constant. Widths may differ.
        eps: What is added to lengths and probabilities.

    Returns:
        The loss of the batch, expanded to ``(N,)``.

    Raises:
        InputError: The lists do not fit, or the batch has one sample.

    Example:
        >>> import torch
        >>> x = torch.rand(4, 8)
        >>> pkt_loss(x, 3 * x, eps=1e-7).abs().max() < 1e-6  # lengths do not count
        tensor(True)
    """
    require_two('PKT', embeddings_s[0])

    def shares(embedding: Tensor) -> Tensor:
        direction = unit(embedding.flatten(1), eps)
        similarity = (direction @ direction.T + 1) / 2
        return similarity / similarity.sum(1, keepdim=True)

    def divergence(q_s: Tensor, q_t: Tensor) -> Tensor:
        return (q_t * ((q_t + eps).log() - (q_s + eps).log())).mean()

    losses = map(divergence, map(shares, embeddings_s), map(shares, embeddings_t))
    return functools.reduce(torch.add, losses).expand(len(embeddings_s[0]))


@DISTILLERS.register_module()
class PKT(MapDistiller):
    """Each sample's similarities to the batch become the teacher's, as a distribution (Passalis and Tefas, ECCV 2018).

    The defaults are those of CIFAR-100 in megvii-research/mdistiller and HobbitLong/RepDistiller. A zero embedding is
    as far from all others and has gradient 0, where the published code has NaN. The batch is that of its own process.

    Args:
        eps: What is added to lengths and probabilities, above 0.
        taps: The student's embedding; any map or tokens will do.
        kd_weight: Weight of the divergence.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Example:
        >>> PKT().student_taps
        ('embedding',)
    """

    needs_two = True
    per_sample = False

    def __init__(
        self, eps: float = 1e-7, taps: Sequence[str] = ('embedding',), kd_weight: float = 30000.0, **options
    ) -> None:
        super().__init__(taps=taps, kd_weight=kd_weight, **options)
        require_positive(self, eps=eps)
        self.eps = eps

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        return pkt_loss(maps_s, maps_t, eps=self.eps)
