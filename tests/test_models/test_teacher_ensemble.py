"""Several teachers as one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crld_zoo.errors import InputError
from crld_zoo.models.ensemble import TeacherEnsemble
from crld_zoo.models.teacher import Teacher
from crld_zoo.registry import MODELS


class Fixed(nn.Module):
    """A teacher that always gives the same logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)
        self.name, self.num_classes, self.expected_top1 = 'fixed', self.logits.shape[1], None

    def forward(self, inputs):
        return self.logits

    def check_classes(self, num_classes):
        if num_classes != self.num_classes:
            raise InputError(f'{self.num_classes} {num_classes}')


A, B = [[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]], [[-1.0, 0.0, 4.0], [2.0, 2.0, 2.0]]
IMAGES = torch.zeros(2, 3, 8, 8)


def teacher_config(depth=8, **options):
    return dict(model=f'crld_zoo::resnet{depth}', num_classes=4, checkpoint='random', **options)


def test_the_mean_of_probabilities():
    ensemble = TeacherEnsemble([Fixed(A), Fixed(B)], weights=[3, 1])
    expected = 0.75 * torch.tensor(A).softmax(1) + 0.25 * torch.tensor(B).softmax(1)
    torch.testing.assert_close(ensemble(IMAGES).softmax(1), expected)
    torch.testing.assert_close(ensemble(IMAGES), expected.log())


def test_the_mean_of_logits():
    ensemble = TeacherEnsemble([Fixed(A), Fixed(B)], average='logits', weights=[3, 1])
    torch.testing.assert_close(ensemble(IMAGES), 0.75 * torch.tensor(A) + 0.25 * torch.tensor(B))


def test_equal_weights_are_the_default_and_their_scale_does_not_matter():
    default = TeacherEnsemble([Fixed(A), Fixed(B)])(IMAGES)
    torch.testing.assert_close(TeacherEnsemble([Fixed(A), Fixed(B)], weights=[7, 7])(IMAGES), default)


@pytest.mark.parametrize('average', ['probabilities', 'logits'])
def test_one_teacher_teaches_as_by_itself(average):
    ensemble = TeacherEnsemble([Fixed(A)], average)
    torch.testing.assert_close(ensemble(IMAGES).softmax(1), torch.tensor(A).softmax(1))


def test_extreme_logits_stay_finite():
    ensemble = TeacherEnsemble([Fixed([[0.0, 1000.0]]), Fixed([[1000.0, 0.0]])])
    torch.testing.assert_close(ensemble(IMAGES), torch.tensor([[0.5, 0.5]]).log())
    assert TeacherEnsemble([Fixed([[0.0, 1000.0]])] * 2)(IMAGES).isfinite().all()


def test_each_teacher_sees_in_its_own_way():
    own = ([100.0, 100.0, 100.0], [20.0, 30.0, 40.0])
    ensemble = MODELS.build(
        dict(
            type='TeacherEnsemble',
            average='logits',
            teachers=[teacher_config(8), teacher_config(14, mean=own[0], std=own[1], size=24)],
        )
    )
    ensemble.match_input([120.0, 110.0, 100.0], [60.0, 61.0, 62.0])
    images = torch.randn(2, 3, 16, 16)
    expected = [teacher(images) for teacher in ensemble.teachers]
    assert isinstance(ensemble.teachers[0], Teacher) and ensemble.teachers[1].scale is not None
    torch.testing.assert_close(ensemble(images), (expected[0] + expected[1]) / 2)


def test_it_teaches_in_the_place_of_one_teacher():
    model = MODELS.build(
        dict(
            type='Distillation',
            student=dict(model='crld_zoo::resnet8', num_classes=4),
            distiller=dict(type='KD'),
            teacher=dict(type='TeacherEnsemble', teachers=[teacher_config(8), teacher_config(14)]),
            data_preprocessor=dict(type='ViewPreprocessor', mean=[120.0] * 3, std=[60.0] * 3),
        )
    )
    losses = model(torch.randn(2, 3, 16, 16), torch.tensor([1, 3]), mode='loss')
    assert losses and all(loss.isfinite().all() for loss in losses.values())
    assert not any(key.startswith('teacher') for key in model.state_dict())


def test_it_is_frozen_and_in_eval_mode():
    ensemble = TeacherEnsemble([teacher_config(), teacher_config()])
    assert ensemble.train() is ensemble and not any(module.training for module in ensemble.modules())
    assert not any(parameter.requires_grad for parameter in ensemble.parameters())


def test_the_fingerprint_follows_teachers_weights_and_average():
    torch.manual_seed(0)
    teachers = [Teacher(**teacher_config()), Teacher(**teacher_config())]
    prints = {
        TeacherEnsemble(*arguments).fingerprint()
        for arguments in ((teachers,), (teachers[::-1],), (teachers, 'logits'), (teachers, 'probabilities', [1, 2]))
    }
    assert len(prints) == 4
    assert TeacherEnsemble(teachers).fingerprint() == TeacherEnsemble(teachers, weights=[2, 2]).fingerprint()


def test_it_has_the_classes_of_its_teachers():
    ensemble = TeacherEnsemble([Fixed(A), Fixed(B)])
    assert ensemble.num_classes == 3
    ensemble.check_classes(3)
    with pytest.raises(InputError, match='3 5'):
        ensemble.check_classes(5)


def test_it_has_no_features():
    ensemble = TeacherEnsemble([Fixed(A), Fixed(B)])
    assert ensemble.extract(IMAGES)[1] == {}
    with pytest.raises(InputError, match='several teachers cannot give'):
        ensemble.tap(['embedding'], IMAGES)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (([],), 'at least one'),
        (([Fixed(A)], 'median'), 'probabilities, logits'),
        (([Fixed(A), Fixed(B)], 'logits', [1.0]), 'each of its 2'),
        (([Fixed(A)], 'logits', [0.0]), 'above zero'),
        (([Fixed(A)], 'logits', [float('inf')]), 'above zero'),
        (([Fixed(A), Fixed([[1.0, 2.0]])],), '2 3'),
    ],
)
def test_wrong_options_are_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        TeacherEnsemble(*arguments)
