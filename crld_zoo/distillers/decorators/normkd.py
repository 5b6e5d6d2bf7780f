"""NormKD (Chi et al., arXiv 2308.00520): a temperature for each sample, from the spread of its logits."""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import Distiller, PairDecorator, Prediction, Predictions, require_positive
from ..functional import full_precision
from ..logits.dkd import dkd_loss
from ..logits.kd import KD, kd_loss


@full_precision
def normalized_logits(logits: Tensor, temperature_norm: float) -> tuple[Tensor, Tensor]:
    """Logits ``(N, K)`` over their own temperature ``tau = temperature_norm * std(logits)``, and ``tau`` ``(N,)``.

    The standard deviation over the classes is the unbiased one and keeps its gradient. Constant logits, as a head that
    starts at zero gives, have none: they stay as they are, and so does the size of their gradient.

    Example:
        >>> import torch
        >>> normalized_logits(torch.tensor([[1., 2., 3.]]), 2.0)
        (tensor([[0.5000, 1.0000, 1.5000]]), tensor([2.]))
    """
    tau = temperature_norm * logits.std(1, keepdim=True)
    return logits / torch.where(tau > 0, tau, 1), tau.squeeze(1)


def normkd_loss(logits_s: Tensor, logits_t: Tensor, *, temperature_norm: float) -> Tensor:
    """``tau_t^2 KL(softmax(z_t / tau_t) || softmax(z_s / tau_s))`` with ``tau = temperature_norm * std(z)``.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        temperature_norm: Multiple of the logits' standard deviation that serves as temperature, above 0.

    Returns:
        The loss of each sample, ``(N,)``.

    Example:
        >>> import torch
        >>> normkd_loss(torch.tensor([[1., 2.]]), torch.tensor([[2., 4.]]), temperature_norm=2.0)
        tensor([0.])
    """
    scaled_s, _ = normalized_logits(logits_s, temperature_norm)
    scaled_t, tau_t = normalized_logits(logits_t.detach(), temperature_norm)
    return tau_t**2 * kd_loss(scaled_s, scaled_t, temperature=1.0)


def normkd_dkd_loss(
    logits_s: Tensor, logits_t: Tensor, target: Tensor, *, alpha: float, beta: float, temperature_norm: float
) -> Tensor:
    """``tau_t^2 (alpha KL(b_t || b_s) + beta KL(q_t || q_s))`` on logits over their own ``tau``.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        target: Class indices ``(N,)``.
        alpha: Weight of the two-way split (target, rest).
        beta: Weight of the softmax over the non-target classes.
        temperature_norm: Multiple of the logits' standard deviation that serves as temperature, above 0.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The target holds no class indices.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[1., 2., 4.]])
        >>> loss = normkd_dkd_loss(logits, 2 * logits, torch.tensor([0]), alpha=1.0, beta=8.0, temperature_norm=2.0)
        >>> loss.abs() < 1e-6
        tensor([True])
    """
    scaled_s, _ = normalized_logits(logits_s, temperature_norm)
    scaled_t, tau_t = normalized_logits(logits_t.detach(), temperature_norm)
    return tau_t**2 * dkd_loss(scaled_s, scaled_t, target, alpha=alpha, beta=beta, temperature=1.0)


@DISTILLERS.register_module()
class NormKD(PairDecorator):
    """A decorator: any pair loss of logits, with a temperature for each sample (Chi et al., 2308.00520).

    ``tau_t^2 d(z_s / tau_s, z_t / tau_t)`` with ``tau = temperature_norm * std(z)``, where the held pair loss ``d``
    runs at temperature 1. By itself it is the published NormKD, on KD with ``ce_weight=0.1, kd_weight=0.9``; over
    DKD it is the published NormKD+DKD. ImageNet recipes use ``temperature_norm=1`` over KD with 0.5 and 0.5. Over NKD
    and the pair form of MLLD, for which there is no published number, the factor scales the whole loss.

    Args:
        distiller: Config of the distiller to decorate, or the distiller; KD, if None.
        temperature_norm: Multiple of the logits' standard deviation that serves as temperature, above 0.

    Example:
        >>> from crld_zoo.distillers import DKD
        >>> NormKD().kd_weight, NormKD(DKD(), temperature_norm=1.0).kd_weight
        (0.9, 1.0)
    """

    def __init__(self, distiller: dict | Distiller | None = None, temperature_norm: float = 2.0) -> None:
        super().__init__(KD() if distiller is None else distiller)
        require_positive(self, temperature_norm=temperature_norm)
        self.temperature_norm = temperature_norm
        self.has_temperature = False  # it has found its own

    def transform(self, student: Predictions, teacher: Predictions) -> tuple[Predictions, Predictions]:
        def scaled(predictions: Predictions) -> Predictions:
            return {
                view: prediction._replace(logits=normalized_logits(prediction.logits, self.temperature_norm)[0])
                for view, prediction in predictions.items()
            }

        return scaled(student), scaled(teacher)

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        self.warn_of_two_classes(teacher.logits)
        scaled_s, _ = normalized_logits(student.logits, self.temperature_norm)
        scaled_t, tau_t = normalized_logits(teacher.logits.detach(), self.temperature_norm)
        student, teacher = student._replace(logits=scaled_s), teacher._replace(logits=scaled_t)
        return tau_t**2 * self.distiller.pair(student, teacher, target, temperature=1.0)
