"""Self-supervision as a teacher's second answer (Xu et al., ECCV 2020, arXiv 2006.07114)."""

from __future__ import annotations

import logging

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from crld_zoo.checkpoint_files import read_checkpoint
from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import Distiller, Networks, Predictions, require_nonnegative, require_positive, require_share
from ..functional import at_target, soft_target
from ..logits.kd import kd_loss
from .sskdhead import VIEWS, own_image, projected_similarities, projection_head

RANDOM = 'random'


@soft_target
def sskd_loss(logits_s: Tensor, logits_t: Tensor, target: Tensor, *, temperature: float, ratio: float) -> Tensor:
    """KD on the rows where the teacher is right and on a share of its errors, those of the best rank.

    ``T^2 KL(p_t || p_s)`` of a row that is kept, 0 of another, divided by the share of rows that are kept: the mean is
    that over the kept ones. A row's rank is how many classes the teacher holds for likelier than the target; of rows of
    one rank the first ones are kept.

    Args:
        logits_s: Student logits ``(M, K)``; similarities to ``K`` samples are such logits too.
        logits_t: Teacher logits ``(M, K)``; a constant.
        target: Class indices ``(M,)``.
        temperature: ``T``, above 0.
        ratio: The share of the teacher's errors that is kept, 0 to 1.

    Returns:
        The loss of each row, ``(M,)``.

    Example:
        >>> teacher, student = torch.tensor([[9., 0.], [9., 0.]]), torch.zeros(2, 2)
        >>> sskd_loss(student, teacher, torch.tensor([0, 1]), temperature=1.0, ratio=0.0)[1]  # an error
        tensor(0.)
    """
    rank = (logits_t > at_target(logits_t, target)[:, None]).sum(1)
    right = (rank == 0).sum()
    place = rank.argsort(stable=True).argsort()
    kept = place < right + ((len(rank) - right).double() * ratio).floor()
    return kd_loss(logits_s, logits_t, temperature=temperature) * kept * len(rank) / kept.sum().clamp(min=1)


@DISTILLERS.register_module()
class SSKD(Distiller):
    """The teacher's classes of turned images, and which image it holds them for (Xu et al., ECCV 2020).

    KD on the plain images, KD on turned ones (:func:`sskd_loss`), and the same loss on the similarities of turned
    images to the plain ones of the batch, as a projection head of each network sees them. The defaults are those of
    CIFAR-100 in xuguodong03/SSKD.

    The view ``'rotated'`` holds several images of each sample, and the student runs on all images at once, as there:
    ``views=dict(…, rotated=dict(of='weak', operations=[dict(type='Rotations')]))`` of the data preprocessor and
    ``student_forward='concat'`` of the model. A sample without a label counts as of the class that the teacher holds
    its plain image for. A process compares the samples of its own batch.

    Args:
        head: A checkpoint of a run of :class:`SSKDHead`, which has the teacher's projection head; ``'random'`` where a
            random one is really wanted, as in a test.
        kd_t: Temperature of the plain images, above 0.
        tf_t: Temperature of the turned images, above 0.
        ss_t: Temperature of the similarities, above 0.
        ratio_tf: Share of the teacher's errors on turned images that is learned from, 0 to 1.
        ratio_ss: Share of its errors by similarity, 0 to 1.
        ce_weight: Weight of the cross-entropy with the labels, of the plain images.
        kd_weight: Weight of KD on the plain images.
        tf_weight: Weight of KD on the turned images.
        ss_weight: Weight of the similarities.
        **options: Those of :class:`~crld_zoo.distillers.Distiller`.

    Raises:
        InputError: There is no such head, or a batch has mixed labels or one sample.

    Example:
        >>> SSKD(head='random').student_views
        ('weak', 'rotated')
    """

    views = VIEWS
    label_views = ('weak',)
    taps = ('embedding',)
    needs_two = True
    fixed_teacher = True
    per_sample = False

    def __init__(
        self,
        head: str,
        kd_t: float = 4.0,
        tf_t: float = 4.0,
        ss_t: float = 0.5,
        ratio_tf: float = 1.0,
        ratio_ss: float = 0.75,
        ce_weight: float = 0.1,
        kd_weight: float = 0.9,
        tf_weight: float = 2.7,
        ss_weight: float = 10.0,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, **options)
        require_positive(self, kd_t=kd_t, tf_t=tf_t, ss_t=ss_t)
        require_share(self, ratio_tf=ratio_tf, ratio_ss=ratio_ss)
        require_nonnegative(self, kd_weight=kd_weight, tf_weight=tf_weight, ss_weight=ss_weight)
        self.file = head
        self.kd_t, self.tf_t, self.ss_t = kd_t, tf_t, ss_t
        self.ratio_tf, self.ratio_ss = ratio_tf, ratio_ss
        self.kd_weight, self.tf_weight, self.ss_weight = kd_weight, tf_weight, ss_weight
        self.register_module('head', None)
        self.register_module('teacher_head', None)

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        self.head, self.teacher_head = (projection_head(p['weak'].features['embedding']) for p in (student, teacher))
        load_head(self.teacher_head, self.file)
        self.teacher_head.requires_grad_(False)

    def forward(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        (plain_s, turned_s), (plain_t, turned_t) = ([p[view].logits for view in VIEWS] for p in (student, teacher))
        label = torch.where(target < 0, plain_t.argmax(1), target) if target.dim() == 1 else target
        label = label.repeat_interleave(len(turned_t) // len(plain_t), dim=0)
        cosines_s = projected_similarities(self.head, student)
        cosines_t = projected_similarities(self.teacher_head, teacher)
        of_plain = kd_loss(plain_s, plain_t, temperature=self.kd_t)
        of_turned = sskd_loss(turned_s, turned_t, label, temperature=self.tf_t, ratio=self.ratio_tf)
        of_cosines = sskd_loss(cosines_s, cosines_t, own_image(cosines_t), temperature=self.ss_t, ratio=self.ratio_ss)
        return dict(
            loss_ce=self.label_loss(student, target),
            loss_kd=self.kd_weight * of_plain.mean(),
            loss_tf=self.tf_weight * of_turned.mean(),
            loss_ss=self.ss_weight * of_cosines.mean(),
        )


def load_head(head: nn.Sequential, file: str) -> None:
    """Load a projection head from a checkpoint of a run of :class:`SSKDHead`; ``'random'`` leaves it as it is."""
    if file == RANDOM:
        print_log("the teacher's projection head has random weights, as the config asks", 'current', logging.WARNING)
        return
    content = read_checkpoint(file)
    state = (content.get('distiller') or {}) if isinstance(content, dict) else {}
    state = {name.removeprefix('head.'): value for name, value in state.items() if name.startswith('head.')}
    if not state:
        raise InputError(
            f'SSKD: {file} holds no projection head: give head= an epoch_….pth of a run of SSKDHead on the teacher '
            '(the best and the published checkpoints hold the network alone).'
        )
    try:
        head.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f'SSKD: the projection head of {file} is not of this teacher, whose embeddings have {head[0].in_features} '
            f'numbers: {str(error).splitlines()[-1].strip()}.'
        ) from error
