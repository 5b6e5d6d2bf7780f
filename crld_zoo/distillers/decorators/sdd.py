"""Scale-decoupled distillation (SDD; Wei et al., CVPR 2024, arXiv 2403.13512)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import Distiller, Networks, PairDecorator, Prediction, Predictions, require_count, require_nonnegative
from ..functional import soft_target


@soft_target
def sdd_loss(
    regions_s: Tensor,
    regions_t: Tensor,
    target: Tensor,
    *,
    pair_loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    complementary_weight: float,
) -> Tensor:
    """``mean over regions r of w_r d(z_s[r], z_t[r], y)`` of a pair loss ``d`` (eqs. 6 to 8).

    ``w`` is the complementary weight where the teacher is right about the region and wrong about the whole or the other
    way around, and 1 elsewhere.

    Args:
        regions_s: The student's logits of each region, ``(N, K, R)``; the first region is the whole image.
        regions_t: The teacher's; a constant.
        target: Class indices ``(N,)``.
        pair_loss: Gives ``(M,)`` for student logits ``(M, K)``, teacher logits ``(M, K)`` and class indices ``(M,)``.
        complementary_weight: The weight of a region that differs from the whole.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The target holds no class indices.

    Example:
        >>> regions_s = torch.tensor([[[0., 0.], [2., 1.]]])  # two classes, two regions
        >>> squares = lambda z_s, z_t, y: (z_s - z_t).square().sum(1)
        >>> regions_t = torch.tensor([[[1., 0.], [0., 1.]]])  # right about the whole only
        >>> sdd_loss(regions_s, regions_t, torch.tensor([0]), pair_loss=squares, complementary_weight=2.0)
        tensor([2.5000])
    """
    if target.dim() != 1 or target.is_floating_point():
        raise InputError('SDD needs one class index a sample: remove Mixup, CutMix and one-hot labels.')
    n, _, r = regions_s.shape
    rows_s, rows_t = (regions.transpose(1, 2).flatten(0, 1) for regions in (regions_s, regions_t))
    losses = pair_loss(rows_s, rows_t, target.repeat_interleave(r)).view(n, r)
    right = regions_t.argmax(1) == target[:, None]
    return torch.where(right == right[:, :1], losses, complementary_weight * losses).mean(1)


@DISTILLERS.register_module()
class SDD(PairDecorator):
    """A decorator: any pair loss of logits, on the whole image and on regions of it (SDD; Wei et al., CVPR 2024).

    A region's logits are the classifier on the mean of its part of the last map; the regions come from the tap
    ``'class_maps'``, so both networks must classify the mean of their last maps by one linear layer. Regions that the
    teacher sees otherwise than the whole count more.

    The defaults are the published ones. Their ``M`` is ``scales``, which they choose for each pair: ``(1, 2)`` for KD
    on ResNet32x4 -> ResNet8x4. NKD in their code has all classes in its non-target term, since its mask leaves the
    target in; the ``Sum`` of ``NKD(gamma=0)`` and ``KD`` has that gradient. What changes logits goes within:
    ``SDD(NormKD(…))``, not ``NormKD(SDD(…))``.

    Args:
        distiller: Config of the distiller to decorate, or the distiller, such as KD, DKD or NKD.
        scales: Into how many regions a side the image is cut, one after the other; the first is 1, the whole.
        complementary_weight: Weight of a region about which the teacher is right and about the whole wrong, or the
            other way around.

    Raises:
        InputError: The distiller compares samples or looks inside of the networks, or a map is too small.

    Example:
        >>> SDD(dict(type='KD'), scales=(1, 2)).student_taps
        ('class_maps',)
    """

    def __init__(
        self, distiller: dict | Distiller, scales: Sequence[int] = (1, 2, 4), complementary_weight: float = 2.0
    ) -> None:
        super().__init__(distiller)
        held = self.distiller
        if not held.per_sample or held.student_taps or held.teacher_taps or held.needs_images:
            why = 'looks inside of the networks' if held.per_sample else 'compares the samples of a batch'
            raise InputError(f'SDD cannot decorate {type(held).__name__}, which {why}: take KD, DKD or NKD.')
        require_nonnegative(self, complementary_weight=complementary_weight)
        require_count(self, **{f'scales[{index}]': scale for index, scale in enumerate(scales)})
        if not scales or scales[0] != 1:
            raise InputError(f'SDD: scales begins with 1, the whole image, but it is {list(scales)}.')
        self.scales, self.complementary_weight = tuple(scales), complementary_weight
        self.reads_logits = False  # a decorator that changes the whole image's logits would leave the regions' alone
        self.has_temperature = False

    @property
    def student_taps(self) -> tuple[str, ...]:
        return ('class_maps',)

    @property
    def teacher_taps(self) -> tuple[str, ...]:
        return ('class_maps',)

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        super().setup(student, teacher, networks)
        for name, prediction in (('student', student[self.student_view]), ('teacher', teacher[self.teacher_view])):
            height, width = prediction.features['class_maps'].shape[2:]
            if min(height, width) < max(self.scales):
                raise InputError(
                    f'SDD cuts the image into {max(self.scales)} regions a side, but the last map of the {name} has '
                    f'{height}x{width} positions: take smaller scales or larger images.'
                )

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        return sdd_loss(
            self.regions(student),
            self.regions(teacher),
            target,
            pair_loss=lambda rows_s, rows_t, labels: self.distiller.pair(
                Prediction(rows_s), Prediction(rows_t), labels
            ),
            complementary_weight=self.complementary_weight,
        )

    def regions(self, prediction: Prediction) -> Tensor:
        """The logits of each region, ``(N, K, R)``, the whole first."""
        if 'class_maps' not in prediction.features:
            raise InputError("SDD compares regions, but the prediction has no 'class_maps' among its features.")
        maps = prediction.features['class_maps']
        return torch.cat([F.adaptive_avg_pool2d(maps, scale).flatten(2) for scale in self.scales], dim=2)
