"""DeiT: reference numbers, the formula in loops, numbers by hand; which students have the second head."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from crld_zoo.compat import _silence_distilled_head
from crld_zoo.distillers import CRLD, DKD, DeiT, LogitStandardization, Prediction, Sum, deit_loss
from crld_zoo.errors import InputError
from crld_zoo.models import Distillation
from crld_zoo.networks import Taps, build_network
from crld_zoo.views import ViewPreprocessor

from .testers import SHAPES, TinyNetwork, close, golden, kl, leaf, logits_of, prepared, random_batch, softmax, total

WHERE = dict(temperature=dict(kind='soft'))


class STUDENT(TinyNetwork):
    """Two linear layers, whose mean the logits are."""

    def __init__(self, widths, num_classes: int) -> None:
        super().__init__(widths, num_classes)
        self.second = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        embedding = self.stages(images).mean((2, 3))
        return (self.fc(embedding) + self.second(embedding)) / 2


def student_of(class_head: Tensor, dist_head: Tensor) -> dict[str, Prediction]:
    heads = dict(class_head=class_head, dist_head=dist_head)
    return {'weak': Prediction((class_head + dist_head) / 2, heads)}


@pytest.mark.parametrize('row', golden('deit'))
def test_reference_numbers(row):
    """Their soft loss is divided by the number of classes besides."""
    kind, alpha, tau = row['params'].values()
    class_head, dist_head = leaf(row['logits_class']), leaf(row['logits_distillation'])
    teacher = {'weak': Prediction(torch.tensor(row['logits_teacher'], dtype=torch.float64))}
    classes = class_head.shape[1] if kind == 'soft' else 1
    distiller = DeiT(kind, tau, ce_weight=1 - alpha, kd_weight=alpha / classes)
    loss = total(distiller(student_of(class_head, dist_head), teacher, torch.tensor(row['target'])))
    loss.backward()
    close(loss, row['loss'])
    close(class_head.grad, row['grad_class'])
    close(dist_head.grad, row['grad_distillation'])


def by_loops(s: list[float], t: list[float], kind: str, temperature: float) -> float:
    if kind == 'hard':
        return -math.log(softmax(s)[t.index(max(t))])
    return temperature**2 * kl(*(softmax([z / temperature for z in row]) for row in (t, s)))


@pytest.mark.parametrize('kind', ['hard', 'soft'])
def test_formula_in_loops(kind):
    for n, k in SHAPES:
        student, teacher, _ = random_batch(n, k)
        s, t = student['weak'].logits, teacher['weak'].logits
        expected = [by_loops(*rows, kind, 3.0) for rows in zip(s.tolist(), t.tolist(), strict=True)]
        close(deit_loss(s, t, kind=kind, temperature=3.0), expected, rtol=1e-10)


def test_numbers_by_hand():
    # The teacher says class 1, of which the head is sure by a half; the label is class 0, of which its head is by 1/8.
    class_head, dist_head, teacher = logits_of([1 / 8, 7 / 8]), logits_of([1 / 2, 1 / 2]), logits_of([1 / 4, 3 / 4])
    losses = DeiT()(student_of(class_head, dist_head), {'weak': Prediction(teacher)}, torch.tensor([0]))
    close(losses['loss_ce'], 0.5 * math.log(8))
    close(losses['loss_kd'], 0.5 * math.log(2))


def test_a_teacher_without_doubt_makes_both_kinds_equal():
    student, _, _ = random_batch(4, 5)
    sure = 1000 * nn.functional.one_hot(torch.tensor([0, 3, 1, 4]), 5).double()
    hard, soft = (deit_loss(student['weak'].logits, sure, kind=kind, temperature=1.0) for kind in ('hard', 'soft'))
    close(hard, soft)


def test_each_head_has_one_teacher():
    """The labels never reach the distillation head, the teacher never the class head."""
    for weights, own in ((dict(kd_weight=0.0), 'class_head'), (dict(ce_weight=0.0), 'dist_head')):
        distiller, batch = prepared(DeiT(**weights), 6, 5)
        total(distiller(*batch.predictions())).backward()
        assert {name for (_, name), grad in batch.gradients().items() if grad is not None and grad.any()} == {own}


def test_a_student_in_decorators():
    distiller, batch = prepared(DeiT(), 6, 5)
    student, teacher, target = batch.predictions()
    plain = distiller(student, teacher, target)
    both = {
        side: {view: views['weak'] for view in ('weak', 'strong')} for side, views in (('s', student), ('t', teacher))
    }
    found = CRLD(distiller, tau_w=0.0, tau_s=0.0)(both['s'], both['t'], target)
    close(found['loss_ce'], 2 * plain['loss_ce'] / distiller.ce_weight)
    close(Sum([distiller, DKD(warmup=0)])(student, teacher, target)['loss_deit'], plain['loss_kd'])
    with pytest.raises(InputError, match='LogitStandardization cannot decorate DeiT: it compares no logits'):
        LogitStandardization(distiller)


ARCH = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)


def mmpretrain_deit() -> dict:
    backbone = dict(type='DistilledVisionTransformer', arch=ARCH, img_size=32, patch_size=16)
    return dict(type='ImageClassifier', backbone=backbone, head=dict(type='DeiTClsHead', num_classes=5, in_channels=24))


def timm_deit(name: str = 'deit_tiny_distilled_patch16_224', **options) -> dict:
    return dict(type='TimmClassifier', model_name=name, num_classes=5, **options)


SMALL = dict(img_size=32, depth=2, embed_dim=24, num_heads=2)
PIXELS = dict(mean=[0.0] * 3, std=[1.0] * 3, image_size=32)
TEACHER = dict(model='crld_zoo::resnet8', num_classes=5, checkpoint='random')
STUDENTS = {
    'mmpretrain': (mmpretrain_deit(), ('head.layers.head', 'head.layers.head_dist')),
    'timm': (timm_deit(**SMALL), ('model.head', 'model.head_dist')),
}


@pytest.mark.parametrize('library', STUDENTS)
@pytest.mark.parametrize('zero', [False, True], ids=['', 'zero'])
def test_finds_the_heads_of_a_library(library, zero):
    """Also where they start at zero, as mmpretrain's do, and every mean is the same."""
    config, paths = STUDENTS[library]
    network, images = build_network(config).eval(), torch.randn(2, 3, 32, 32)
    for path in paths:
        nn.init.constant_(network.get_submodule(path).weight, 0.0 if zero else len(path) / 100)
    names = ('class_head', 'dist_head', *paths)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        _silence_distilled_head()
        for training in (False, True):
            logits, found = Taps(network, names, images).run(network.train(training), images)
            assert torch.equal(logits, (found['class_head'] + found['dist_head']) / 2)
            assert found['class_head'] is found[paths[0]] and found['dist_head'] is found[paths[1]]


def test_both_heads_are_trained_and_their_mean_is_tested():
    model = Distillation(timm_deit(**SMALL), DeiT(), TEACHER, ViewPreprocessor(**PIXELS))
    images, target = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    total(model.train()(images, target, mode='loss')).backward()
    network = model.student.model
    assert all(head.weight.grad.any() for head in (network.head, network.head_dist))
    with torch.no_grad():
        (_, features), logits = model.eval()._taps.module.run(model.student, images), model(images)
    torch.testing.assert_close(logits, (features['class_head'] + features['dist_head']) / 2)
    assert not hasattr(model.distiller, 'head') and not list(model.distiller.state_dict())


@pytest.mark.parametrize(
    'student', [dict(model='crld_zoo::resnet8', num_classes=5), timm_deit('deit_tiny_patch16_224', **SMALL)]
)
def test_a_student_without_a_second_head_gets_one_sentence(student):
    with pytest.raises(
        InputError, match='are not the mean of two linear layers, so it has no distillation token: take'
    ):
        Distillation(student, DeiT(), TEACHER, ViewPreprocessor(**PIXELS))


@pytest.mark.parametrize(
    'option, message',
    [
        (dict(kind='warm'), "DeiT: kind must be 'hard' or 'soft', not 'warm'"),
        (dict(temperature=0), 'DeiT: temperature must be a number above 0, not 0'),
    ],
)
def test_options_that_cannot_be(option, message):
    with pytest.raises(InputError, match=message):
        DeiT(**option)
