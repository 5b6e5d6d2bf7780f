"""The projection head of SSKD's teacher (Xu et al., ECCV 2020, arXiv 2006.07114)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import Distiller, Networks, Predictions
from ..functional import full_precision
from .maps import require_two, unit

VIEWS = ('weak', 'rotated')


@full_precision
def rotation_similarities(turned: Tensor, plain: Tensor) -> Tensor:
    """The cosine of each turned image's projection ``(M, D)`` with each plain one's ``(N, D)``: ``(M, N)``.

    Example:
        >>> rotation_similarities(torch.tensor([[2., 0.]]), torch.tensor([[3., 0.], [0., 1.]]))
        tensor([[1., 0.]])
    """
    return unit(turned) @ unit(plain).T


def projection_head(embedding: Tensor) -> nn.Sequential:
    """Two linear layers with a ReLU between, all of the width of the embeddings ``(N, D)``."""
    width = embedding.flatten(1).shape[1]
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


def projected_similarities(head: nn.Module | None, predictions: Predictions) -> Tensor:
    """The similarities of the turned images' projections by a head to the plain ones'.

    Raises:
        InputError: The head was never built, or the batch has one sample.
    """
    if head is None:
        raise InputError(
            'SSKD has projection heads that depend on the networks: call distiller.setup(student, teacher, networks) '
            'with predictions of a probe batch, before the optimizer is made.'
        )
    plain, turned = (head(predictions[view].features['embedding'].flatten(1)) for view in VIEWS)
    require_two('SSKD', plain)
    return rotation_similarities(turned, plain)


def own_image(similarities: Tensor) -> Tensor:
    """Which plain image each turned one is of, ``(M,)``."""
    rows, samples = similarities.shape
    return torch.arange(samples, device=similarities.device).repeat_interleave(rows // samples)


@DISTILLERS.register_module()
class SSKDHead(Distiller):
    """SSKD's first stage: a projection head that tells which image a turned one is of (Xu et al., ECCV 2020).

    The network that is to teach is this run's student. It stays as it is, in eval mode; the head alone is trained, by
    the cross-entropy of the cosines. :class:`~crld_zoo.distillers.SSKD` takes it from a checkpoint of this run.

    Example:
        >>> SSKDHead().trains_student
        False
    """

    views = VIEWS
    label_views = ()
    taps = ('embedding',)
    needs_teacher = False
    trains_student = False
    needs_two = True
    per_sample = False

    def __init__(self) -> None:
        super().__init__(ce_weight=0.0)
        self.register_module('head', None)

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        self.head = projection_head(student['weak'].features['embedding'])

    def forward(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        similarities = projected_similarities(self.head, student)
        own = own_image(similarities)
        found = (similarities.argmax(1) == own).to(similarities.dtype).mean()
        return dict(loss_head=F.cross_entropy(similarities, own), found=found)
