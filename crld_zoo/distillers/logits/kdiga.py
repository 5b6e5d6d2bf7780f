"""Input gradient alignment (KDIGA; Shao et al., 2021, arXiv 2110.12072)."""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_nonnegative, require_positive
from ..functional import cross_entropy
from .kd import kd_loss


def input_gradient(prediction: Prediction, target: Tensor, *, create_graph: bool) -> Tensor:
    """``d CE(f(x), y) / d x`` of each image, ``(N, 3, H, W)``.

    Args:
        prediction: Logits ``(N, K)`` and the images that they were made of, which require grad.
        target: Class indices ``(N,)`` or class probabilities ``(N, K)``.
        create_graph: Whether it can be differentiated in turn.

    Raises:
        InputError: The prediction carries no images.

    Example:
        >>> import torch
        >>> images = torch.ones(1, 3, 1, 1, requires_grad=True)
        >>> logits = images.flatten(1) @ torch.tensor([[1., 0.], [0., 0.], [0., 1.]])
        >>> input_gradient(Prediction(logits, images=images), torch.tensor([0]), create_graph=False).flatten()
        tensor([-0.5000,  0.0000,  0.5000])
    """
    if prediction.images is None:
        raise InputError(
            'KDIGA compares gradients of the images, and the prediction carries none: give '
            'Prediction(logits, images=…) images that require grad and that the logits are made of.'
        )
    loss = cross_entropy(prediction.logits, target).sum()
    with torch.autocast(loss.device.type, enabled=False):  # else it narrows the backward pass of what ran in fp32
        # The teacher's graph is kept as well: another pair may have the same prediction.
        return torch.autograd.grad(loss, prediction.images, create_graph=create_graph, retain_graph=True)[0]


def kdiga_loss(
    student: Prediction, teacher: Prediction, target: Tensor, *, lambda_: float, temperature: float | Tensor
) -> Tensor:
    """``T^2 KL(p_t || p_s) + lambda |d CE(f_s(x), y)/dx - d CE(f_t(x), y)/dx|^2``.

    Args:
        student: The student's logits ``(N, K)`` and its images ``(N, 3, H, W)``, which require grad.
        teacher: The teacher's, likewise; its gradient is a constant.
        target: Class indices ``(N,)`` or class probabilities ``(N, K)``.
        lambda_: Weight of the squared distance of the gradients, summed over pixels and channels.
        temperature: ``T`` of the divergence, above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: A prediction carries no images; the two see images of different sizes.

    Example:
        >>> import torch
        >>> images = torch.ones(1, 3, 1, 1, requires_grad=True)
        >>> weight = torch.tensor([[1., 0.], [0., 0.], [0., 1.]])
        >>> student, teacher = (Prediction(images.flatten(1) @ (w * weight), images=images) for w in (1, 3))
        >>> kdiga_loss(student, teacher, torch.tensor([0]), lambda_=1.0, temperature=1.0)  # (1.5 - 0.5)^2 twice
        tensor([2.], grad_fn=<AddBackward0>)
    """
    gradient_s = input_gradient(student, target, create_graph=True)
    gradient_t = input_gradient(teacher, target, create_graph=False)
    if gradient_s.shape != gradient_t.shape:
        raise InputError(
            f'KDIGA compares gradients pixel by pixel, but the student sees images of {tuple(gradient_s.shape[1:])} '
            f'and the teacher of {tuple(gradient_t.shape[1:])}: let both views have one size.'
        )
    distance = (gradient_s - gradient_t).square().flatten(1).sum(1)
    return kd_loss(student.logits, teacher.logits, temperature=temperature) + lambda_ * distance


@DISTILLERS.register_module()
class KDIGA(PairDistiller):
    """The student's loss has the teacher's gradient with respect to the image (KDIGA; Shao et al., 2021).

    Its claim is robustness: a student of an adversarially trained teacher becomes robust without being attacked itself.
    The gradient of the distance passes through the student twice; images are those that the networks see, normalized.
    Where the student has batch norms, an image's gradient contains its part in the statistics of its batch.

    No code is public and ``lambda`` is not known to us. The default brings the terms to one size at the beginning: of
    768 training images of CIFAR-100, with a ResNet56 of 72.6 % and an untrained ResNet20, the divergence is 4.6 and the
    squared distance 31 on average. A teacher of another kind, an adversarially trained one above all, has gradients of
    another size: compare the terms on some batches first.

    Args:
        lambda_: Weight of the squared distance of the gradients, summed over an image.
        temperature: ``T`` of the divergence, above 0; the one that a decorator chooses.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> KDIGA().needs_images
        True
    """

    needs_images = True
    has_temperature = True

    def __init__(
        self,
        lambda_: float = 0.1,
        temperature: float = 1.0,
        ce_weight: float = 1.0,
        kd_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)
        require_nonnegative(self, lambda_=lambda_)
        require_positive(self, temperature=temperature)
        self.lambda_, self.temperature = lambda_, temperature

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor
    ) -> Tensor:
        return kdiga_loss(student, teacher, target, lambda_=self.lambda_, temperature=temperature)
