"""Relational representation distillation (Giakoumoglou and Stathaki, 2024, arXiv 2407.12073)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import Networks, Prediction, Predictions, require_count, require_positive
from ..functional import soft_target
from .embeddings import EmbeddingDistiller


@soft_target
def rrd_loss(directions_s: Tensor, directions_t: Tensor, queue: Tensor, *, nce_t_s: float, nce_t_t: float) -> Tensor:
    """``-sum_k p_t[k] log p_s[k]``, ``p = softmax(v Q^T / T)``: the cross-entropy of similarities to a queue ``Q``.

    Args:
        directions_s: The student's embeddings of length 1, ``(N, D)``.
        directions_t: The teacher's; a constant.
        queue: The teacher's embeddings of samples, those of this batch among them, ``(Q, D)``; a constant.
        nce_t_s: ``T`` of the student, above 0.
        nce_t_t: ``T`` of the teacher, above 0; a smaller one makes its similarities sharper.

    Returns:
        The loss of each sample, ``(N,)``.

    Example:
        >>> v = torch.eye(2)
        >>> rrd_loss(v, v, v, nce_t_s=0.1, nce_t_t=0.1).max() < 1e-3
        tensor(True)
    """
    queue = queue.detach()
    p_t = (directions_t @ queue.T / nce_t_t).softmax(1)
    return -(p_t * (directions_s @ queue.T / nce_t_s).log_softmax(1)).sum(1)


def enqueue(queue: Tensor, place: Tensor, rows: Tensor) -> Tensor:
    """Put rows ``(N, D)`` in place of the oldest of a queue ``(Q, D)``, from ``place`` on, and return the queue."""
    places = (place + torch.arange(len(rows), device=rows.device)) % len(queue)
    return queue.index_copy_(0, places[-len(queue) :], rows[-len(queue) :])  # of more rows than places the last ones


@DISTILLERS.register_module()
class RRD(EmbeddingDistiller):
    """Similarities to a queue of the teacher's embeddings become the teacher's (RRD; Giakoumoglou and Stathaki, 2024).

    The defaults are those of CIFAR-100 in giakoumoglou/distillers, whose docstring has the two temperatures exchanged.
    As there, the teacher's linear layer keeps its first weights, since no gradient reaches it, the queue starts with
    random columns of length 1, and a batch enters the queue before it is compared. The queue takes the batches of all
    processes; each process compares its batch with the queue and its own batch.

    Args:
        nce_k: How many embeddings the queue has.
        nce_t_s: Temperature of the student's similarities, above 0.
        nce_t_t: Temperature of the teacher's similarities, above 0.
        kd_weight: Weight of the cross-entropy of the similarities.
        **options: Those of :class:`~crld_zoo.distillers.EmbeddingDistiller`.

    Example:
        >>> tuple(RRD(nce_k=64, feat_dim=16).queue.shape)
        (64, 16)
    """

    per_sample = False
    queue: Tensor
    place: Tensor

    def __init__(
        self, nce_k: int = 16384, nce_t_s: float = 0.1, nce_t_t: float = 0.02, kd_weight: float = 1.0, **options
    ) -> None:
        super().__init__(kd_weight=kd_weight, **options)
        require_count(self, nce_k=nce_k)
        require_positive(self, nce_t_s=nce_t_s, nce_t_t=nce_t_t)
        self.nce_t_s, self.nce_t_t = nce_t_s, nce_t_t
        first = torch.randn(nce_k, self.feat_dim, generator=torch.Generator().manual_seed(0))  # equal on all processes
        self.register_buffer('queue', F.normalize(first, dim=0))
        self.register_buffer('place', torch.tensor(0))

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        super().setup(student, teacher, networks)
        self.projections[1].requires_grad_(False)

    def observe(self, student: Predictions, teacher: Predictions, target: Tensor) -> None:
        _, own = self.directions(student[self.student_view], teacher[self.teacher_view])
        rows = torch.cat(all_gather(own))
        enqueue(self.queue, self.place, rows)
        self.place.copy_((self.place + len(rows)) % len(self.queue))

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        directions_s, directions_t = self.directions(student, teacher)
        queue = enqueue(self.queue.clone(), self.place, directions_t.detach())
        return rrd_loss(directions_s, directions_t, queue, nce_t_s=self.nce_t_s, nce_t_t=self.nce_t_t)
