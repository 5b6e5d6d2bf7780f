"""Deeply decoupled knowledge distillation (DeepKD; Huang et al., 2025, arXiv 2505.15133)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import (
    PairDistiller,
    Prediction,
    Predictions,
    Progress,
    require_choice,
    require_nonnegative,
    require_positive,
)
from ..functional import at_target, kl_divergence, log_softmax_among, put_at_target, ranks, soft_target, standardize
from .dkd import decoupled_divergences


@soft_target
def non_target_loss(
    logits_s: Tensor, logits_t: Tensor, target: Tensor, *, temperature: float, topk: int | Tensor
) -> Tensor:
    """``T^2 KL(q_t || q_s)`` over the non-target classes among the teacher's ``topk`` highest, the target included.

    Where the target is one of two such classes, or the only one, nothing is left to compare and the loss is 0.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        target: Class indices ``(N,)``.
        temperature: ``T``, above 0.
        topk: How many of the teacher's highest classes count, a number or ``()``; all, if 0.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The target holds no class indices.

    Example:
        >>> import torch
        >>> logits, target = torch.tensor([[1., 2., 4., 0.]]), torch.tensor([2])
        >>> non_target_loss(logits, 2 * logits, target, temperature=1.0, topk=0).round(decimals=3)
        tensor([0.1160])
        >>> non_target_loss(logits, 2 * logits, target, temperature=1.0, topk=2)
        tensor([0.])
    """
    among = put_at_target((ranks(logits_t) < topk) | (topk == 0), target, False)
    log_s, log_t = (log_softmax_among(logits / temperature, among) for logits in (logits_s, logits_t))
    return temperature**2 * kl_divergence(log_t, log_s)


@soft_target
def _dkd_terms(logits_s: Tensor, logits_t: Tensor, target: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
    of_target, of_rest = decoupled_divergences(logits_s / temperature, logits_t / temperature, target)
    return temperature**2 * of_target, temperature**2 * of_rest


@DISTILLERS.register_module()
class DeepKD(PairDistiller):
    r"""The task, the target class and the other classes, each with its own gradient and momentum (Huang et al., 2025).

    The losses are the cross-entropy and DKD's two terms, in three groups: ``'task'``, ``'target'`` and
    ``'non_target'``. It trains with a :class:`~crld_zoo.engine.GroupedOptimWrapper`, whose ``momenta`` are, around
    SGD's of 0.9, 0.9 + 0.075 for the task and the other classes and 0.9 - 0.075 for the target class in the paper; the
    published code (haiduo/DeepKD) gives the task's gradient the target class's momentum, and the weight decay to the
    target class, whose step is the last.

    The published code has two forms. Its DKD form is the default here. Its KD form is ``beta=1, warmup=0,
    rest_weight='batch'`` with the cross-entropy's weight of KD: without the average over the batch
    (``rest_weight='sample'``) both terms are KD's divergence, taken apart.

    Args:
        temperature: ``T``, above 0.
        alpha: Weight of the target-class term.
        beta: Weight of the non-target-class term.
        rest_weight: What else the non-target-class term is multiplied by: ``'one'`` for nothing, ``'sample'`` for the
            teacher's probability of these classes, ``'batch'`` for that probability times the batch's mean of the term.
        topk: How many of the teacher's highest classes take part in the non-target-class term; all, if 0, as in the
            published code. ``(first, last)`` grows linearly over the epochs: the paper's mask starts small and takes in
            more classes as training goes on, and the straight line is ours.
        logit_stand: Whether both logits are standardized first.
        warmup: Epochs over which both terms grow linearly to their full weight.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of both terms.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> sorted(set(DeepKD(topk=(5, 100)).groups.values()))
        ['non_target', 'target', 'task']
    """

    groups = dict(loss_ce='task', loss_target='target', loss_non_target='non_target')
    topk: Tensor

    def __init__(
        self,
        temperature: float = 4.0,
        alpha: float = 1.0,
        beta: float = 8.0,
        rest_weight: str = 'one',
        topk: int | Sequence[int] = 0,
        logit_stand: bool = False,
        warmup: int = 20,
        ce_weight: float = 1.0,
        kd_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, warmup=warmup, **options)
        require_positive(self, temperature=temperature)
        require_nonnegative(self, alpha=alpha, beta=beta)
        require_choice(self, rest_weight=(rest_weight, ('one', 'sample', 'batch')))
        ends = [topk, topk] if isinstance(topk, int) else list(topk)
        if len(ends) != 2 or not all(isinstance(end, int) and end >= 0 for end in ends) or (0 in ends and any(ends)):
            raise InputError(
                f'DeepKD: topk must be a number of classes, 0 for all, or (first, last) of 1 or more, not {topk!r}.'
            )
        self.temperature, self.alpha, self.beta = temperature, alpha, beta
        self.rest_weight, self.logit_stand = rest_weight, logit_stand
        self.per_sample = rest_weight != 'batch'
        self.ends = tuple(ends)
        self.register_buffer('topk', torch.tensor(ends[1]), persistent=False)

    def begin(self, progress: Progress) -> None:
        super().begin(progress)
        self._begun = True
        first, last = self.ends
        self.topk.fill_(round(first + (last - first) * (progress.epoch - 1) / max(progress.epochs - 1, 1)))

    def terms(self, student: Prediction, teacher: Prediction, target: Tensor) -> tuple[Tensor, Tensor]:
        """The target-class and the non-target-class term of each sample, ``(N,)`` each, weighted."""
        if self.training and not self._begun and self.ends[0] != self.ends[1]:
            raise InputError(
                'DeepKD has a schedule of topk and was never told the epoch: call distiller.begin(Progress(epoch, '
                'iteration, epochs, iterations)) before each step.'
            )
        logits = (student.logits, teacher.logits.detach())
        logits_s, logits_t = map(standardize, logits) if self.logit_stand else logits
        of_target, of_rest = _dkd_terms(logits_s, logits_t, target, temperature=self.temperature)
        if any(self.ends):
            of_rest = non_target_loss(logits_s, logits_t, target, temperature=self.temperature, topk=self.topk)
        if self.rest_weight != 'one':
            rest = 1 - at_target((logits_t.to(of_rest.dtype) / self.temperature).softmax(1), target)
            of_rest = rest * (of_rest if self.per_sample else of_rest.mean())
        return self.alpha * of_target, self.beta * of_rest

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        of_target, of_rest = self.terms(student, teacher, target)
        return of_target + of_rest

    def distill(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        pair = student[self.student_view], teacher[self.teacher_view]
        terms = self.terms(*pair, self.labels_of(*pair, target))
        return {
            name: self.kd_weight * self.scheduled(term).mean()
            for name, term in zip(('loss_target', 'loss_non_target'), terms, strict=True)
        }
