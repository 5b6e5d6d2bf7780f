"""What the methods that compare maps inside of the networks share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crld_zoo.errors import InputError

from ..base import Networks, PairDistiller, Prediction, Predictions
from ..functional import widened

STAGES = ('stage1', 'stage2', 'stage3')
"""The stages of CIFAR's networks; the ImageNet networks have four."""

Maps = Sequence[Tensor]


def as_map(feature: Tensor) -> Tensor:
    """A feature as a map ``(N, C, h, w)``: an embedding ``(N, C)`` has one position, tokens ``(N, L, C)`` a square.

    Raises:
        InputError: The tokens, less a class token, are no square.

    Example:
        >>> tuple(as_map(torch.zeros(2, 197, 192)).shape)
        (2, 192, 14, 14)
    """
    if feature.dim() == 4:
        return feature
    if feature.dim() == 2:
        return feature[:, :, None, None]
    length = feature.shape[1] if feature.dim() == 3 else 0
    for tokens in (length, length - 1):  # a class token comes first
        side = math.isqrt(max(tokens, 0))
        if side and side**2 == tokens:
            return feature[:, -tokens:].mT.unflatten(2, (side, side))
    raise InputError(
        f'a feature of shape {tuple(feature.shape)} is no map: expected (N, C, h, w), (N, C), or tokens (N, L, C), a '
        'square number of them beside a class token; tap another module.'
    )


def same_size(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps, the larger one averaged over the positions (adaptive pooling) to the size of the smaller one.

    Example:
        >>> one, other = same_size(torch.zeros(2, 3, 8, 8), torch.zeros(2, 5, 4, 4))
        >>> tuple(one.shape), tuple(other.shape)
        ((2, 3, 4, 4), (2, 5, 4, 4))
    """
    if one.shape[2:] == other.shape[2:]:  # pooling would copy them, and their gradients slowly: half of AT's time
        return one, other
    if one.shape[2] >= other.shape[2]:
        return F.adaptive_avg_pool2d(one, (other.shape[2], other.shape[3])), other
    return one, F.adaptive_avg_pool2d(other, (one.shape[2], one.shape[3]))


def unit(vectors: Tensor, eps: float = 0.0, length: Tensor | None = None) -> Tensor:
    """``v / (|v| + eps)``, of length 1 in the last dimension; a zero vector stays 0, with gradient 0.

    ``|v|`` ``(…, 1)`` can be given where it is there already.

    Example:
        >>> unit(torch.tensor([[3., 4.], [0., 0.]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    norm = vectors.norm(dim=-1, keepdim=True) if length is None else length
    return vectors / (norm.masked_fill(norm < 1e-12, math.inf) + eps)


def mean_square(one: Tensor, other: Tensor) -> Tensor:
    """The mean ``(N,)`` of the squared differences of maps ``(N, C, h, w)``.

    Example:
        >>> mean_square(torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4))
        tensor([1., 1.])
    """
    # A sum over the maps as they lie in memory. A flat copy and the gradients of a mean or of mse_loss are contiguous,
    # and an activation that meets one beside its channels_last map takes 40 times as long.
    return (one - other).square().sum((1, 2, 3)) / one[0].numel()


def require_two(method: str, features: Tensor) -> None:
    """Refuse a batch of one for a method that compares the samples of a batch with each other."""
    if len(features) < 2:
        raise InputError(
            f'{method} compares the samples of a batch with each other: it needs two or more, not {len(features)}.'
        )


def over_maps(*, pool: bool = False, same_channels: bool = False) -> Callable:
    """Make a loss over two lists of maps safe: full precision, the teacher's maps a constant, lists that fit.

    Args:
        pool: Bring each pair of maps to the smaller one's size.
        same_channels: Refuse pairs of different numbers of channels, which would broadcast.

    Example:
        >>> @over_maps(pool=True)
        ... def distance(maps_s, maps_t):
        ...     return (maps_s[0] - maps_t[0]).abs().mean((1, 2, 3))
        >>> distance(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 2, 2))
        tensor([1.])
    """

    def decorate(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(loss)
        def wrapped(maps_s: Maps | Tensor, maps_t: Maps | Tensor, *args, **options) -> Tensor:
            lists = [[maps] if isinstance(maps, Tensor) else maps for maps in (maps_s, maps_t)]
            maps_s, maps_t = ([widened(as_map(feature)) for feature in maps] for maps in lists)
            _check(loss.__name__, maps_s, maps_t, same_channels)
            maps_t = [feature.detach() for feature in maps_t]
            if pool:
                maps_s, maps_t = zip(*map(same_size, maps_s, maps_t), strict=True)
            with torch.autocast(maps_s[0].device.type, enabled=False):
                return loss(maps_s, maps_t, *args, **options)

        return wrapped

    return decorate


def _check(name: str, maps_s: Maps, maps_t: Maps, same_channels: bool) -> None:
    if len(maps_s) != len(maps_t) or not maps_s:
        raise InputError(
            f'{name} compares maps in pairs, but the student has {len(maps_s)} and the teacher {len(maps_t)}.'
        )
    for map_s, map_t in zip(maps_s, maps_t, strict=True):
        if len(map_s) != len(map_t) or (same_channels and map_s.shape[1] != map_t.shape[1]):
            raise InputError(
                f"{name} cannot compare maps of shapes {tuple(map_s.shape)} and {tuple(map_t.shape)}: the student's "
                f"needs the {'samples and channels' if same_channels else 'samples'} of the teacher's."
            )


class MapDistiller(PairDistiller):
    """A pair distiller that compares maps of the student with maps of the teacher, in pairs.

    A subclass defines :meth:`map_loss` and, where the student's maps are projected first, :meth:`projection`.

    Args:
        taps: The student's maps, see :mod:`crld_zoo.networks.taps`.
        teacher_taps: The teacher's, in the same order; those of the same names if None.
        ce_weight: Weight of the cross-entropy with the labels.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Raises:
        InputError: There are not as many of the one as of the other.

    Attributes:
        compares_positions: Whether it compares positions with each other, so that maps of one position say nothing.
    """

    reads_logits = False
    compares_positions: bool = False

    def __init__(
        self, *, taps: Sequence[str], teacher_taps: Sequence[str] | None = None, ce_weight: float = 1.0, **options
    ) -> None:
        super().__init__(ce_weight=ce_weight, **options)
        self.taps = _names(self, taps)
        self._teacher_taps = self.taps if teacher_taps is None else _names(self, teacher_taps)
        if len(self.taps) != len(self._teacher_taps):
            raise InputError(
                f'{type(self).__name__} compares maps in pairs, but taps names {len(self.taps)} of the student and '
                f'teacher_taps {len(self._teacher_taps)} of the teacher.'
            )
        self.register_module('projections', None)

    @property
    def teacher_taps(self) -> tuple[str, ...]:
        return self._teacher_taps

    def projection(self, map_s: Tensor, map_t: Tensor) -> nn.Module | None:
        """What brings a student's map to the teacher's channels, from a probe of both; None for nothing."""

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        """The loss of each sample ``(N,)`` of maps ``(N, C, h, w)``."""
        raise NotImplementedError

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        pairs = list(zip(*self.maps(student[self.student_view], teacher[self.teacher_view]), strict=True))
        if self.compares_positions and all(same_size(*pair)[0].shape[2:].numel() == 1 for pair in pairs):
            raise InputError(
                f'{type(self).__name__} compares the positions of a map, but {", ".join(self.taps)} and '
                f'{", ".join(self.teacher_taps)} have one position in common: tap earlier stages, or take larger '
                'images.'
            )
        projections = [self.projection(map_s, map_t) for map_s, map_t in pairs]
        if any(projection is not None for projection in projections):
            self.projections = nn.ModuleList(each or nn.Identity() for each in projections)

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        with torch.autocast(student.logits.device.type, enabled=False):  # projections in full precision too
            maps_s, maps_t = self.maps(student, teacher)
            if len(maps_s[0]) == 1 and self.training and any(isinstance(m, nn.BatchNorm2d) for m in self.modules()):
                raise InputError(
                    f'{type(self).__name__} normalizes over the batch, which has one sample: make it larger, or leave '
                    'the last batch of an epoch out (drop_last=True).'
                )
            return self.map_loss(maps_s, maps_t)

    def maps(self, student: Prediction, teacher: Prediction) -> tuple[list[Tensor], list[Tensor]]:
        """The maps of both networks, tokens and embeddings as maps too."""
        return self._of(student, self.student_taps), self._of(teacher, self.teacher_taps)

    def built(self) -> nn.ModuleList:
        """The projections.

        Raises:
            InputError: They were never built.
        """
        if self.projections is None:
            raise InputError(
                f'{type(self).__name__} has projections that depend on the networks: call distiller.setup(student, '
                'teacher, networks) with predictions of a probe batch, before the optimizer is made.'
            )
        return self.projections

    def project(self, maps: Sequence[Tensor], *args) -> list[Tensor]:
        """The student's maps through their projections, which are given ``args`` as well."""
        return [projection(feature, *args) for projection, feature in zip(self.built(), maps, strict=True)]

    def _of(self, prediction: Prediction, taps: Sequence[str]) -> list[Tensor]:
        missing = [tap for tap in taps if tap not in prediction.features]
        if missing:
            raise InputError(
                f'{type(self).__name__} compares {", ".join(taps)}, but the prediction has no '
                f'{", ".join(missing)} among its features.'
            )
        return [widened(as_map(prediction.features[tap])) for tap in taps]


def _names(distiller: PairDistiller, taps: Sequence[str]) -> tuple[str, ...]:
    if isinstance(taps, str) or not taps:
        raise InputError(f'{type(distiller).__name__}: taps is a list of one name or more, not {taps!r}.')
    return tuple(taps)
