"""Correlation congruence (Peng et al., ICCV 2019, arXiv 1904.01802)."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import Networks, Predictions, require_choice, require_count, require_positive
from ..functional import full_precision
from .embeddings import EmbeddingDistiller
from .maps import require_two, unit


@full_precision
def correlation_loss(
    embedding_s: Tensor, embedding_t: Tensor, *, form: str, gamma: float | None = None, p_order: int | None = None
) -> Tensor:
    """Equal correlations between the samples of a batch, in one of two forms.

    ``'neighbors'``, what the published numbers were made with: ``1/(N-1) sum_i |d_i| · |d_(i+1)|`` of the differences
    ``d = e_s - e_t`` of neighboring samples, which depends on the order of the batch. ``'rbf'``, what the paper
    describes (eqs. 4 to 7): ``mean over N^2 of (K_s - K_t)^2`` with ``K = e^(-2g) sum_(p=0..P) (2g)^p / p! cos^p``.

    Args:
        embedding_s: The student's embedding ``(N, C)``.
        embedding_t: The teacher's. Of the same width for ``'neighbors'``, where a gradient reaches it: it was embedded.
            A constant for ``'rbf'``.
        form: ``'neighbors'`` or ``'rbf'``.
        gamma: ``g``, for ``'rbf'``.
        p_order: ``P``, the order of the kernel's series, for ``'rbf'``.

    Returns:
        The loss of the batch, expanded to ``(N,)``.

    Raises:
        InputError: The batch has one sample, or the shapes do not fit.

    Example:
        >>> import torch
        >>> one, zero = torch.ones(3, 4), torch.zeros(3, 4)
        >>> correlation_loss(one, zero, form='neighbors')
        tensor([4., 4., 4.])
        >>> correlation_loss(one, 2 * one, form='rbf', gamma=0.4, p_order=2).max() < 1e-6
        tensor(True)
    """
    require_two('CC', embedding_s)
    n = len(embedding_s)
    if len(embedding_t) != n or (form == 'neighbors' and embedding_s.shape != embedding_t.shape):
        raise InputError(
            f'correlation_loss cannot compare embeddings of shapes {tuple(embedding_s.shape)} and '
            f'{tuple(embedding_t.shape)}.'
        )
    if form == 'neighbors':
        gap = (embedding_s - embedding_t).abs()
        return (gap[:-1] * gap[1:]).sum(1).mean().expand(n)

    if gamma is None or p_order is None:
        raise InputError("correlation_loss(form='rbf') needs gamma and p_order, those of its kernel.")

    def kernel(embedding: Tensor) -> Tensor:
        direction = unit(embedding.flatten(1))
        cosine = direction @ direction.T
        series = ((2 * gamma) ** p / math.factorial(p) * cosine**p for p in range(p_order + 1))
        return math.exp(-2 * gamma) * functools.reduce(torch.add, series)

    return (kernel(embedding_s) - kernel(embedding_t.detach())).square().mean().expand(n)


@DISTILLERS.register_module()
class CC(EmbeddingDistiller):
    """Correlations between the samples of a batch become the teacher's (CC; Peng et al., ICCV 2019).

    The defaults are those of CIFAR-100 in HobbitLong/RepDistiller, whose loss is the authors' own and differs from the
    paper's: see :func:`correlation_loss`. For ``form='rbf'``, which has no learned part, AberHu's zoo has
    ``kd_weight=100``. The batch is that of its own process.

    Args:
        form: ``'neighbors'`` or ``'rbf'``.
        gamma: ``g`` of the kernel, above 0.
        p_order: Order of the kernel's series.
        kd_weight: Weight of the correlations.
        **options: Those of :class:`~crld_zoo.distillers.EmbeddingDistiller`.

    Example:
        >>> CC(form='rbf', kd_weight=100.0).gamma
        0.4
    """

    needs_two = True
    per_sample = False

    def __init__(
        self,
        form: str = 'neighbors',
        gamma: float = 0.4,
        p_order: int = 2,
        kd_weight: float = 0.02,
        **options,
    ) -> None:
        super().__init__(kd_weight=kd_weight, **options)
        require_choice(self, form=(form, ('neighbors', 'rbf')))
        require_positive(self, gamma=gamma)
        require_count(self, p_order=p_order)
        self.form, self.gamma, self.p_order = form, gamma, p_order

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        if self.form == 'neighbors':
            super().setup(student, teacher, networks)

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        features = (*maps_s, *maps_t)
        return correlation_loss(
            *(self.embed(*features) if self.form == 'neighbors' else features),
            form=self.form,
            gamma=self.gamma,
            p_order=self.p_order,
        )
