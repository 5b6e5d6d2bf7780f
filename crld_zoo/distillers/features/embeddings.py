"""What the methods share that embed the features of both networks linearly, to vectors of one width."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from crld_zoo.errors import InputError

from ..base import Networks, Prediction, Predictions, require_count
from .maps import MapDistiller, unit


class EmbeddingDistiller(MapDistiller):
    """A pair distiller of one feature of each network, each after a linear layer of its own.

    Args:
        feat_dim: How many numbers an embedding has.
        taps: The student's feature; maps and tokens count as flat.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Raises:
        InputError: More than one feature is named.
    """

    def __init__(self, *, feat_dim: int = 128, taps: Sequence[str] = ('embedding',), **options) -> None:
        super().__init__(taps=taps, **options)
        require_count(self, feat_dim=feat_dim)
        if len(self.taps) > 1:
            raise InputError(f'{type(self).__name__} embeds one feature: give taps one name, not {len(self.taps)}.')
        self.feat_dim = feat_dim

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        (map_s,), (map_t,) = self.maps(student[self.student_view], teacher[self.teacher_view])
        self.projections = nn.ModuleList(nn.Linear(feature[0].numel(), self.feat_dim) for feature in (map_s, map_t))

    def embed(self, map_s: Tensor, map_t: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings ``(N, feat_dim)`` of features ``(N, …)``; no gradient reaches the teacher's feature."""
        embed_s, embed_t = self.built()
        return embed_s(map_s.flatten(1)), embed_t(map_t.detach().flatten(1))

    def directions(self, student: Prediction, teacher: Prediction) -> tuple[Tensor, Tensor]:
        """The embeddings of two predictions, of length 1."""
        (map_s,), (map_t,) = self.maps(student, teacher)
        embed_s, embed_t = self.embed(map_s, map_t)
        return unit(embed_s), unit(embed_t)
