"""Arithmetic that the losses share: full precision, log space, per sample."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, is_distributed
from torch import Tensor

from crld_zoo.errors import InputError

Loss = TypeVar('Loss', bound=Callable[..., Any])
"""A function of logits; what wraps it takes and gives the same."""


def widened(value):
    """A tensor of 16 bits in fp32; anything else as it is.

    Example:
        >>> import torch
        >>> widened(torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return value.float() if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16) else value


def full_precision(loss: Loss) -> Loss:
    """Compute a loss in fp32 (float64 stays) whatever the logits' type, also under autocast.

    The logits come first, so their device decides which autocast is suspended.

    Example:
        >>> import torch
        >>> full_precision(torch.log_softmax)(torch.zeros(1, 2, dtype=torch.bfloat16), 1).dtype
        torch.float32
    """

    @functools.wraps(loss)
    def wrapped(logits: Tensor, *args, **kwargs):
        with torch.autocast(logits.device.type, enabled=False):
            return loss(widened(logits), *map(widened, args), **kwargs)

    return cast(Loss, wrapped)


def soft_target(loss: Loss) -> Loss:
    """A pair loss in full precision whose second argument, the teacher's logits, is a constant.

    Example:
        >>> import torch
        >>> student, teacher = torch.ones(1, 2, requires_grad=True), torch.ones(1, 2, requires_grad=True)
        >>> soft_target(torch.mul)(student, teacher).sum().backward()
        >>> student.grad, teacher.grad
        (tensor([[1., 1.]]), None)
    """
    loss = full_precision(loss)

    @functools.wraps(loss)
    def wrapped(logits_s: Tensor, logits_t: Tensor, *args, **kwargs):
        return loss(logits_s, logits_t.detach(), *args, **kwargs)

    return cast(Loss, wrapped)


@full_precision
def cross_entropy(
    logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0, class_weight: Tensor | None = None
) -> Tensor:
    """Cross-entropy ``(N,)`` with class indices ``(N,)`` or class probabilities ``(N, K)``; 0 where the index is -1.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(2, 10), torch.tensor([3, -1])).round(decimals=3)
        tensor([2.3030, 0.0000])
    """
    _refuse_pixels(target)
    if class_weight is not None:
        class_weight = class_weight.to(logits.dtype)
    return F.cross_entropy(
        logits, target, class_weight, ignore_index=-1, reduction='none', label_smoothing=label_smoothing
    )


@full_precision
def binary_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    threshold: float | None = None,
) -> Tensor:
    """The mean ``(N,)`` over the classes of each one's binary cross-entropy; 0 where the class index is -1.

    That is timm's ``BinaryCrossEntropy`` of one sample, and DeiT III's loss with a threshold of 0. The targets are
    one-hot or class probabilities, ``(1 - s) y + s / K`` with smoothing ``s``, then 1 above the threshold and else 0
    if there is one.

    Args:
        logits: Student logits ``(N, K)``.
        target: Class indices ``(N,)`` or class probabilities ``(N, K)``.
        label_smoothing: ``s``, 0 to 1.
        class_weight: A weight of each class's term, ``(K,)``.
        threshold: Where 1 begins, 0 to 1; the targets as they are, if None.

    Example:
        >>> import torch
        >>> binary_cross_entropy(torch.zeros(2, 10), torch.tensor([3, -1])).round(decimals=3)
        tensor([0.6930, 0.0000])
    """
    _refuse_pixels(target)
    of_class = target if target.dim() == 2 else F.one_hot(target.clamp(min=0), logits.shape[1])
    of_class = (1 - label_smoothing) * of_class.to(logits.dtype) + label_smoothing / logits.shape[1]
    if threshold is not None:
        of_class = (of_class > threshold).to(logits.dtype)
    if class_weight is not None:
        class_weight = class_weight.to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, of_class, class_weight, reduction='none').mean(1)
    return loss if target.dim() == 2 else torch.where(target < 0, 0, loss)


def _refuse_pixels(target: Tensor) -> None:
    if target.dim() > 2:
        raise InputError(
            f'the labels are those of pixels, of shape {tuple(target.shape)}: decorate the distiller with Dense.'
        )


def labeled_mean(loss: Tensor, target: Tensor) -> Tensor:
    """The mean ``()`` of a loss ``(N,)`` over the labeled samples; it is 0 at the others, whose target is -1.

    On several processes, which average their gradients, the mean is over the labeled samples of all of them.

    Example:
        >>> import torch
        >>> labeled_mean(torch.tensor([1., 3., 0.]), torch.tensor([5, 2, -1]))
        tensor(2.)
    """
    if target.dim() > 1:
        return loss.mean()
    labeled = (target >= 0).sum()
    if is_distributed():
        labeled = labeled.float()
        all_reduce(labeled, 'mean')
    return loss.sum() / labeled.clamp(min=1e-6)  # without a labeled sample the sum is 0; a share of one can be below 1


def per_row(temperature: float | Tensor) -> float | Tensor:
    """A temperature as divisor of logits ``(N, K)``: a number or ``()`` as it is, one a sample ``(N,)`` as a column.

    Raises:
        InputError: It has another shape, which would broadcast unnoticed.

    Example:
        >>> import torch
        >>> per_row(4.0), per_row(torch.tensor([2., 4.]))
        (4.0, tensor([[2.],
                [4.]]))
    """
    if not isinstance(temperature, Tensor) or temperature.dim() == 0:
        return temperature
    if temperature.dim() != 1:
        raise InputError(f'a temperature is a number, () or (N,), but its shape is {tuple(temperature.shape)}.')
    return temperature[:, None]


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``KL(p || q)`` over the last dimension, from log-probabilities.

    Example:
        >>> import torch
        >>> sure, even = torch.tensor([[99., 0.]]).log_softmax(1), torch.zeros(1, 2).log_softmax(1)
        >>> kl_divergence(sure, even).exp()
        tensor([2.])
    """
    return F.kl_div(log_q, log_p, reduction='none', log_target=True).sum(-1)


MASKED = -1e30
"""What stands for a logit that does not take part: its probability is 0, and it is a finite number in fp32."""


def ranks(scores: Tensor) -> Tensor:
    """How many values of its row ``(N, K)`` come before each one in descending order; equal ones in theirs.

    Example:
        >>> import torch
        >>> ranks(torch.tensor([[3., 7., 7., 5.]]))
        tensor([[3, 0, 1, 2]])
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)  # twice as fast as to sort again


def log_softmax_among(logits: Tensor, group: Tensor) -> Tensor:
    """The log-softmax over a group of classes, mask ``(N, K)``, alone.

    The other classes have probability 0. In an empty group all have the same one, without gradient.

    Example:
        >>> import torch
        >>> log_softmax_among(torch.tensor([[1., 1., 9.]]), torch.tensor([[True, True, False]])).exp()
        tensor([[0.5000, 0.5000, 0.0000]])
    """
    return logits.masked_fill(~group, MASKED).log_softmax(1)


def pearson(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's correlation over the last dimension.

    Values that are constant up to rounding correlate with nothing: about 0, with a gradient of the values' size, where
    the formula has one of 1e8.

    Example:
        >>> import torch
        >>> pearson(torch.tensor([1., 2., 3.]), torch.tensor([2., 4., 6.])).round(decimals=3)
        tensor(1.)
    """

    def centered(values: Tensor) -> tuple[Tensor, Tensor]:
        deviation = values - values.mean(-1, keepdim=True)
        norm = deviation.norm(dim=-1)
        noise = 4 * torch.finfo(values.dtype).eps * values.detach().norm(dim=-1)
        return deviation, torch.where(norm > noise, norm, 1)

    (x, norm_x), (y, norm_y) = centered(x), centered(y)
    return (x * y).sum(-1) / (norm_x * norm_y + 1e-8)


@full_precision
def standardize(logits: Tensor) -> Tensor:
    """``(z - mean) / (std + 1e-7)`` over the classes of each sample, with the unbiased standard deviation.

    Constant logits, as a head that starts at zero gives, become 0 without the gradient of 1e7 that the formula has.

    Example:
        >>> import torch
        >>> standardize(torch.tensor([[1., 2., 3.]])).round(decimals=3)
        tensor([[-1.,  0.,  1.]])
    """
    std = logits.std(1, keepdim=True)
    return (logits - logits.mean(1, keepdim=True)) / (torch.where(std > 0, std, 1) + 1e-7)


def labels_and_shares(target: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The labels of each sample and their shares, ``(N, 1)`` of class indices, ``(N, 2)`` of mixed labels ``(N, K)``.

    A sample without a label (class -1) has class 0 with a share of 0.

    Example:
        >>> import torch
        >>> labels_and_shares(torch.tensor([[0.25, 0., 0.75]]), torch.float32)
        (tensor([[2, 0]]), tensor([[0.7500, 0.2500]]))
    """
    if target.dim() == 1:
        return target[:, None].clamp(min=0), (target >= 0).to(dtype)[:, None]
    share, label = target.to(dtype).topk(2, dim=1)
    return label, share


def put_at_target(logits: Tensor, target: Tensor, value: float) -> Tensor:
    """The rows ``(N, K)`` with another value at their targets ``(N,)``.

    Example:
        >>> import torch
        >>> put_at_target(torch.tensor([[1., 2., 4.]]), torch.tensor([1]), 0.0)
        tensor([[1., 0., 4.]])
    """
    return logits.scatter(1, _column(target), value)


def at_target(logits: Tensor, target: Tensor) -> Tensor:
    """The value ``(N,)`` of each row ``(N, K)`` at its target ``(N,)``.

    Example:
        >>> import torch
        >>> at_target(torch.tensor([[1., 2., 4.]]), torch.tensor([1]))
        tensor([2.])
    """
    return logits.gather(1, _column(target)).squeeze(1)


def other_logits(logits: Tensor, target: Tensor) -> Tensor:
    """The rows ``(N, K)`` without their targets ``(N,)``: ``(N, K - 1)``, in order.

    Gathers by index rather than by a boolean mask, whose result size a GPU would have to report to the host.

    Example:
        >>> import torch
        >>> other_logits(torch.tensor([[1., 2., 4.]]), torch.tensor([1]))
        tensor([[1., 4.]])
    """
    columns = torch.arange(logits.shape[1] - 1, device=logits.device)
    return logits.gather(1, columns + (columns >= _column(target)))


def _column(target: Tensor) -> Tensor:
    if target.is_floating_point() or target.dim() != 1:
        raise InputError(
            f'this distiller needs one class index a sample, but the labels have shape '
            f'{tuple(target.shape)} and type {target.dtype}: remove Mixup, CutMix and one-hot labels.'
        )
    return target[:, None]
