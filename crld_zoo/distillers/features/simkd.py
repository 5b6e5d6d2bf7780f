"""The teacher's classifier, used again (SimKD; Chen et al., CVPR 2022, arXiv 2203.14001)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import Networks, Predictions
from .fitnet import fitnet_loss
from .maps import MapDistiller


@DISTILLERS.register_module()
class SimKD(MapDistiller):
    """The student's last map, projected, imitates the teacher's; the teacher's classifier does the rest (CVPR 2022).

    ``mean (P(F_s) - F_t)^2`` (eq. 3) is all: there is no cross-entropy and no divergence of logits. The projector
    ``P`` and the frozen classifier are the *student's*, in training and after it, so they are its head: a
    :class:`~crld_zoo.networks.heads.TeacherHead`, ``student=dict(…, head=dict(type='TeacherHead',
    teacher_channels=…))``. The classifier's weights are the teacher's from the moment of :meth:`setup`, the one thing
    of the student that is written to there.

    Args:
        taps: The student's maps, after the projector.
        ce_weight: Weight of the cross-entropy with the labels; 0 in the paper.
        kd_weight: Weight of the distance.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Raises:
        InputError: The student has no such head, or its map is larger than the teacher's.

    Example:
        >>> SimKD().ce_weight
        0.0
    """

    fixed_teacher = True

    def __init__(
        self, taps: Sequence[str] = ('last_map',), ce_weight: float = 0.0, kd_weight: float = 1.0, **options
    ) -> None:
        super().__init__(taps=taps, ce_weight=ce_weight, kd_weight=kd_weight, **options)

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        super().setup(student, teacher, networks)
        head: Any = next((each for each in networks.student.modules() if hasattr(each, 'take_classifier')), None)
        if head is None:
            raise InputError(
                "SimKD's student classifies by the teacher's classifier: give it a head=dict(type='TeacherHead', "
                'teacher_channels=…).'
            )
        head.take_classifier(*networks.teacher_classifier())
        for map_s, map_t in zip(*self.maps(student[self.student_view], teacher[self.teacher_view]), strict=True):
            if map_s.shape[2] > map_t.shape[2]:
                raise InputError(
                    f"SimKD: the student's map has {map_s.shape[2]} positions a side, the teacher's {map_t.shape[2]}: "
                    f'set head.size={map_t.shape[2]} of the student.'
                )

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        return fitnet_loss(maps_s, maps_t)
