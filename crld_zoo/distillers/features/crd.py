"""Contrastive representation distillation (Tian et al., ICLR 2020, arXiv 1910.10699)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS
from crld_zoo.views import SampleKeys, uniform

from ..base import Prediction, Predictions, TrainingData, require_count, require_positive, require_share
from ..functional import full_precision
from .embeddings import EmbeddingDistiller
from .maps import unit


def contrast_scores(
    directions_s: Tensor,
    directions_t: Tensor,
    memory_s: Tensor,
    memory_t: Tensor,
    contrast: Tensor,
    *,
    temperature: float,
) -> Tensor:
    """``<m_t[j], v_s> / T`` and ``<m_s[j], v_t> / T`` of the samples ``j``, ``(2, N, J)``; see :func:`crd_loss`."""
    pairs = ((directions_s, memory_t), (directions_t, memory_s))
    # All products and then a selection: the selected memories (N, J, D) would be larger by far.
    return torch.stack([(v @ memory.detach().T).gather(1, contrast) for v, memory in pairs]) / temperature


def log_normalizers(scores: Tensor, n_data: int) -> Tensor:
    """``log Z = log(n_data mean exp(scores))`` of each side, ``(2,)``, a constant; see :func:`crd_loss`."""
    return scores.detach().flatten(1).logsumexp(1) + math.log(n_data / scores[0].numel())


@full_precision
def crd_loss(
    directions_s: Tensor,
    directions_t: Tensor,
    memory_s: Tensor,
    memory_t: Tensor,
    contrast: Tensor,
    *,
    temperature: float,
    n_data: int,
    eps: float,
    log_z: Tensor | None = None,
) -> Tensor:
    """Is a pair of embeddings one of the same sample: the noise-contrastive estimate of both sides, summed (eq. 18).

    ``-log o_0 / (o_0 + c + e) - sum_(j > 0) log c / (o_j + c + e)``, ``c = K / n_data``, with
    ``o_j = exp(<m_t[j], v_s> / T) / Z_s`` for the student and the same with the networks exchanged for the teacher.
    Computed from the logarithms, so that nothing overflows.

    Args:
        directions_s: The student's embeddings of length 1, ``v_s`` ``(N, D)``.
        directions_t: The teacher's, ``v_t``; a gradient reaches them too, since they are learned.
        memory_s: What is remembered of the student's embedding of each sample, ``(size, D)``; a constant.
        memory_t: The same of the teacher; a constant.
        contrast: The numbers of the sample itself and of ``K`` of other classes, ``(N, K + 1)``.
        temperature: ``T``, above 0.
        n_data: How many samples there are.
        eps: ``e``.
        log_z: ``log Z_s`` and ``log Z_t``, ``(2,)``; those of this batch, as in the first step of a training, if None.

    Returns:
        The loss of each sample, ``(N,)``.

    Example:
        >>> v, contrast = torch.eye(2), torch.tensor([[0, 1], [1, 0]])
        >>> crd_loss(v, v, v, v, contrast, temperature=0.1, n_data=2, eps=1e-7) < 2
        tensor([True, True])
    """
    scores = contrast_scores(directions_s, directions_t, memory_s, memory_t, contrast, temperature=temperature)
    log_z = log_normalizers(scores, n_data) if log_z is None else log_z
    noise = (contrast.shape[1] - 1) / n_data
    odds = scores - log_z.to(scores.dtype)[:, None, None] - math.log(noise + eps)
    negatives = F.softplus(odds[..., 1:]) + math.log1p(eps / noise)
    return (F.softplus(-odds[..., 0]) + negatives.sum(2)).sum(0)


def draw_negatives(samples: Tensor, target: Tensor, step: Tensor, by_class: Tensor, counts: Tensor, k: int) -> Tensor:
    """``k`` samples of other classes for each sample, ``(N, k)``: a function of its number and the step alone.

    From a random one on they follow at a random stride, which has no divisor in common with their number: each is as
    likely as any other, and none comes again before all have come.

    Args:
        samples: Numbers of the samples, int64 ``(N,)``.
        target: Their classes, ``(N,)``.
        step: How many steps were made, ``()``.
        by_class: The numbers of all labeled samples, in the order of their classes.
        counts: How many there are of each class, ``(K,)``.
        k: How many to draw.
    """
    own, start = counts[target][:, None], (counts.cumsum(0) - counts)[target][:, None]
    others = len(by_class) - own
    first, *drawn = uniform(SampleKeys(0, 0, samples, step.expand_as(samples)), dict(CRD=33))['CRD']
    strides = 1 + (torch.stack(drawn, dim=1) * (others - 1)).long()
    strides[:, -1] = 1
    stride = strides.gather(1, (torch.gcd(strides, others) == 1).long().argmax(1, keepdim=True))
    place = ((first[:, None] * others).long() + stride * torch.arange(k, device=samples.device)) % others
    return by_class[place + own * (place >= start)]


@DISTILLERS.register_module()
class CRD(EmbeddingDistiller):
    """A sample's embeddings by both networks are told from those of other classes (CRD; Tian et al., ICLR 2020).

    Each network's embeddings are compared with what is remembered of the other's, before the memory is brought up to
    date; ``Z`` is set in the first step. The memories are the same on all processes. The defaults are those of
    CIFAR-100 in megvii-research/mdistiller and HobbitLong/RepDistiller. Unlike there, a sample's negatives are those of
    its number and the step, and what is remembered is embedded by the weights after the step.

    Args:
        nce_k: How many samples of other classes each is told from; some come again where there are not as many.
        temperature: ``T``, above 0.
        momentum: Share of what is remembered that stays, 0 to 1.
        eps: What is added to probabilities, above 0.
        kd_weight: Weight of the contrast.
        unlabeled: What a sample without a label counts as: ``'refuse'`` for an error, ``'teacher'`` for the class that
            the teacher is surest of.
        **options: Those of :class:`~crld_zoo.distillers.EmbeddingDistiller`.

    Raises:
        InputError: Nobody knows the samples' numbers, the training set has only one class, or labels are mixed.

    Example:
        >>> CRD(nce_k=4096).temperature
        0.07
    """

    temperature: float
    memory_s: Tensor
    memory_t: Tensor
    by_class: Tensor
    counts: Tensor
    log_z: Tensor
    steps: Tensor

    def __init__(
        self,
        nce_k: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
        eps: float = 1e-7,
        kd_weight: float = 0.8,
        unlabeled: str = 'refuse',
        **options,
    ) -> None:
        super().__init__(kd_weight=kd_weight, unlabeled=unlabeled, **options)
        require_count(self, nce_k=nce_k)
        require_positive(self, temperature=temperature, eps=eps)
        require_share(self, momentum=momentum)
        self.nce_k, self.temperature, self.momentum, self.eps = nce_k, temperature, momentum, eps
        for name in ('memory_s', 'memory_t', 'by_class', 'counts'):
            self.register_buffer(name, None, persistent=name.startswith('memory'))
        self.register_buffer('log_z', torch.zeros(2))
        self.register_buffer('steps', torch.tensor(0))
        self._first_log_z: Tensor | None = None
        self._is_set = False

    def connect(self, data: TrainingData) -> None:
        labeled = (data.labels >= 0).nonzero().squeeze(1)
        self.by_class = labeled[data.labels[labeled].argsort(stable=True)]
        self.counts = data.labels[labeled].bincount(minlength=data.num_classes)
        if (self.counts > 0).sum() < 2:
            raise InputError('CRD tells samples from those of other classes: the training set needs two with labels.')
        generator = torch.Generator().manual_seed(0)  # equal on all processes
        bound = math.sqrt(3 / self.feat_dim)
        self.memory_s, self.memory_t = (
            (2 * torch.rand(data.size, self.feat_dim, generator=generator) - 1) * bound for _ in range(2)
        )

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        samples = self._checked(student.samples, target)
        negatives = draw_negatives(samples, target, self.steps, self.by_class, self.counts, self.nce_k)
        contrast = torch.cat([samples[:, None], negatives], dim=1)
        compared = (*self.directions(student, teacher), self.memory_s, self.memory_t, contrast)
        return crd_loss(
            *compared,
            temperature=self.temperature,
            n_data=len(self.by_class),
            eps=self.eps,
            log_z=self._normalizers(compared),
        )

    def observe(self, student: Predictions, teacher: Predictions, target: Tensor) -> None:
        own, other = student[self.student_view], teacher[self.teacher_view]
        seen = (own.samples, *self.directions(own, other))
        samples, *directions = (torch.cat(all_gather(each)) for each in seen)
        same = (samples[:, None] == samples).to(directions[0].dtype)  # what is there twice is averaged
        for memory, rows in zip((self.memory_s, self.memory_t), directions, strict=True):
            rows = same @ rows / same.sum(1, keepdim=True)
            memory[samples] = unit(self.momentum * memory[samples] + (1 - self.momentum) * rows)
        if not self._is_set and self._first_log_z is not None:
            self.log_z.copy_(self._first_log_z)
        self.steps.add_(1)

    def _normalizers(self, compared: tuple[Tensor, ...]) -> Tensor:
        """``log Z`` of both sides: what the first step set, in the first step that of the batches of all processes."""
        self._is_set = self._is_set or bool(self.steps)  # a GPU is waited for until the first step is made, not later
        if self._is_set:
            return self.log_z
        own = log_normalizers(contrast_scores(*compared, temperature=self.temperature), len(self.by_class))
        each = torch.stack(all_gather(own))
        self._first_log_z = each.logsumexp(0) - math.log(len(each))
        return self._first_log_z

    def _checked(self, samples: Tensor | None, target: Tensor) -> Tensor:
        if self.memory_s is None:
            raise InputError(
                'CRD remembers every sample and was never told of the training set: call distiller.connect(TrainingData'
                '(size, num_classes, labels)) first.'
            )
        if samples is None:
            raise InputError(
                'CRD remembers samples by their numbers, and this batch has none: give the model keys=SampleKeys(…) '
                'with the batch, as the data preprocessor of views does.'
            )
        if target.dim() != 1 or target.is_floating_point():
            raise InputError('CRD needs one class index a sample: remove Mixup, CutMix and one-hot labels.')
        return samples
