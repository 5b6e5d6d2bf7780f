"""Decoupled (IKL) and generalized (GKL) KL divergence (Cui et al., NeurIPS 2024, arXiv 2305.13948 and 2503.08038)."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import (
    Networks,
    PairDistiller,
    Prediction,
    Predictions,
    Progress,
    TrainingData,
    require_nonnegative,
    require_positive,
)
from ..functional import per_row, soft_target


def _soft_labels(logits_s: Tensor, logits_t: Tensor, temperature: float | Tensor) -> Tensor:
    divisor = per_row(temperature)
    return -((logits_t / divisor).softmax(1) * (logits_s / divisor).log_softmax(1)).sum(1)


def _weights(logits_t: Tensor, target: Tensor, t2: float, gamma: float, class_table: Tensor | None) -> Tensor:
    if class_table is None:
        return (gamma * (logits_t / t2).log_softmax(1)).exp()
    if target.dim() != 1 or target.is_floating_point():
        raise InputError('a class table needs one class index a sample: remove Mixup, CutMix and one-hot labels.')
    return class_table.to(logits_t.dtype)[target] ** gamma


def _spread(logits_s: Tensor, logits_t: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """``W sum w d^2 - (sum w d)^2 = W sum w (d - m)^2``, ``(N,)``, where nothing cancels; and ``W``."""
    gap, total = logits_t - logits_s, weight.sum(1)
    mean = (weight * gap).sum(1) / total
    return total * (weight * (gap - mean[:, None]).square()).sum(1), total


@soft_target
def ikl_loss(
    logits_s: Tensor,
    logits_t: Tensor,
    target: Tensor,
    *,
    alpha: float,
    beta: float,
    temperature: float | Tensor,
    t2: float,
    class_table: Tensor | None = None,
) -> Tensor:
    """``beta / 2 [W sum w d^2 - (sum w d)^2] - alpha sum p_t log p_s``: weighted squares and soft labels.

    ``d = z_t - z_s``, ``p = softmax(z / T)``; ``w = softmax(z_t / T2)`` or, with a class table, the label's row of it;
    ``W = sum w``. There is no ``T^2``. The published code builds ``K x K`` matrices for the same number.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        target: Class indices ``(N,)``; read with a class table only.
        alpha: Weight of the soft labels.
        beta: Weight of the squares.
        temperature: ``T``, above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.
        t2: ``T2``, above 0.
        class_table: A row of weights for each class, ``(K, K)``.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: There is a class table and the target holds no class indices.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 2), torch.tensor([0])
        >>> ikl_loss(logits, logits, target, alpha=1.0, beta=8.0, temperature=4.0, t2=1.0)
        tensor([0.6931])
    """
    squares, _ = _spread(logits_s, logits_t, _weights(logits_t, target, t2, 1.0, class_table))
    return beta / 2 * squares + alpha * _soft_labels(logits_s, logits_t, temperature)


@soft_target
def gkl_loss(
    logits_s: Tensor,
    logits_t: Tensor,
    target: Tensor,
    *,
    alpha: float,
    beta: float,
    gamma: float,
    temperature: float | Tensor,
    t2: float,
    class_table: Tensor | None = None,
) -> Tensor:
    """:func:`ikl_loss` with weights ``w^gamma``, its squares over the batch's mean of ``W^2``.

    The normalizer belongs to the batch.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        target: Class indices ``(N,)``; read with a class table only.
        alpha: Weight of the soft labels.
        beta: Weight of the squares.
        gamma: Power of the weights, at least 0.
        temperature: ``T``, above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.
        t2: ``T2``, above 0.
        class_table: A row of weights for each class, ``(K, K)``.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: There is a class table and the target holds no class indices.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 2), torch.tensor([0])
        >>> gkl_loss(logits, logits, target, alpha=1.0, beta=8.0, gamma=1.0, temperature=4.0, t2=1.0)
        tensor([0.6931])
    """
    squares, total = _spread(logits_s, logits_t, _weights(logits_t, target, t2, gamma, class_table))
    squares = squares / total.square().mean()
    return beta / 2 * squares + alpha * _soft_labels(logits_s, logits_t, temperature)


@DISTILLERS.register_module()
class IKL(PairDistiller):
    """Weighted squares of the logits' differences beside soft labels (IKL; Cui et al., NeurIPS 2024).

    The defaults are those of CIFAR-100's ResNet32x4 -> ResNet8x4 (jiequancui/DKL); ResNet56 -> ResNet20 has
    ``beta=4``, ImageNet ``temperature=1, beta=0.5, t2=1, class_table=True``. With the class table the weights are the
    teacher's mean ``softmax(z / T2)`` of the label's class in the epoch before, even ones in the first; only labeled
    samples enter it, those of all processes.

    Args:
        temperature: ``T``, above 0.
        alpha: Weight of the soft labels.
        beta: Weight of the squares.
        t2: ``T2`` of the weights, above 0.
        class_table: Whether the weights are those of the class.
        warmup: Epochs over which the pair loss grows linearly to its full weight.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> IKL(class_table=True).t2
        100.0
    """

    has_temperature = True
    class_table: Tensor | None
    sums: Tensor
    counts: Tensor
    summed_epoch: Tensor

    def __init__(
        self,
        temperature: float = 4.0,
        alpha: float = 1.0,
        beta: float = 8.0,
        t2: float = 100.0,
        class_table: bool = False,
        warmup: int = 20,
        ce_weight: float = 1.0,
        kd_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, warmup=warmup, **options)
        require_positive(self, temperature=temperature, t2=t2)
        require_nonnegative(self, alpha=alpha, beta=beta)
        self.temperature, self.alpha, self.beta, self.t2 = temperature, alpha, beta, t2
        self.with_table = class_table
        self.register_buffer('class_table', None)
        self._epoch: int | None = None

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        if self.with_table:
            logits = teacher[self.teacher_view].logits
            k, device = logits.shape[1], logits.device
            self.class_table = torch.full((k, k), 1 / k, device=device)
            self.register_buffer('sums', torch.zeros(k, k, device=device))
            self.register_buffer('counts', torch.zeros(k, device=device))
            self.register_buffer('summed_epoch', torch.tensor(1, device=device))

    def connect(self, data: TrainingData) -> None:
        if self.with_table and not (data.labels >= 0).any():
            raise InputError(
                f'{type(self).__name__}: a class table needs labels, the data has none: leave class_table=True out.'
            )

    def overrides(self, method: str) -> bool:
        return self.with_table and super().overrides(method)

    def begin(self, progress: Progress) -> None:
        super().begin(progress)
        if self.class_table is None or progress.epoch == self._epoch:
            return
        self._epoch = progress.epoch
        if int(self.summed_epoch) == progress.epoch:  # the first, or the rest of one that a resume goes on with
            return
        seen = self.counts[:, None]
        self.class_table.copy_(torch.where(seen > 0, self.sums / seen.clamp(min=1), self.class_table))
        self.sums.zero_()
        self.counts.zero_()
        self.summed_epoch.fill_(progress.epoch)

    def observe(self, student: Predictions, teacher: Predictions, target: Tensor) -> None:
        if self.class_table is None:
            return
        labeled = (target >= 0).to(self.sums.dtype)
        rows = (teacher[self.teacher_view].logits / self.t2).softmax(1).to(self.sums.dtype) * labeled[:, None]
        for whole, values in ((self.sums, rows), (self.counts, labeled)):
            batch = torch.zeros_like(whole).index_add_(0, target.clamp(min=0), values)
            all_reduce(batch)  # the table is that of all processes
            whole.add_(batch)

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor
    ) -> Tensor:
        if self.with_table and self.class_table is None:
            raise InputError(
                f'{type(self).__name__} has a class table and was never set up: call distiller.setup(student, teacher, '
                'networks) with predictions of two images first, or leave class_table=True out.'
            )
        return self._loss(
            student.logits,
            teacher.logits,
            target,
            alpha=self.alpha,
            beta=self.beta,
            temperature=temperature,
            t2=self.t2,
            class_table=self.class_table,
        )

    def _loss(self, *predictions: Tensor, **options) -> Tensor:
        return ikl_loss(*predictions, **options)


@DISTILLERS.register_module()
class GKL(IKL):
    """:class:`IKL` with a power of the weights, normalized over the batch (GKL; Cui et al., arXiv 2503.08038).

    The power and ``T2`` are our choice. On several processes the batch is that of each process.

    Args:
        gamma: Power of the weights, at least 0.
        t2: ``T2`` of the weights, above 0.
        **options: Those of :class:`IKL`.

    Example:
        >>> GKL(gamma=0.5).beta
        8.0
    """

    def __init__(self, gamma: float = 1.0, t2: float = 1.0, **options) -> None:
        super().__init__(t2=t2, **options)
        require_nonnegative(self, gamma=gamma)
        self.gamma = gamma
        self.per_sample = gamma == 1  # the normalizer is 1 then

    def _loss(self, *predictions: Tensor, **options) -> Tensor:
        return gkl_loss(*predictions, gamma=self.gamma, **options)
