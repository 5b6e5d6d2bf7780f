"""The teacher: frozen, in eval mode, with its own eyes and its own classes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from crld_zoo.errors import InputError
from crld_zoo.models import Teacher
from crld_zoo.networks.sources import build_network

MEAN, STD = [120.0, 110.0, 100.0], [60.0, 61.0, 62.0]
OWN_MEAN, OWN_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def classifier(classes=6, dropout=0.0):
    return dict(
        type='ImageClassifier',
        backbone=dict(type='WideResNet', depth=10, dropout=dropout),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=classes, in_channels=64),
    )


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Weights whose logits differ well between images and between classes."""
    torch.manual_seed(5)
    network = build_network(classifier(), checkpoint='random').train()
    network.backbone.init_weights()
    torch.nn.init.normal_(network.head.fc.weight)
    with torch.no_grad():
        for _ in range(20):  # batch statistics that fit
            network(torch.randn(16, 3, 16, 16))
    path = tmp_path_factory.mktemp('weights') / 'teacher.pth'
    torch.save(network.state_dict(), path)
    return path


def column(values):
    return torch.tensor(values).view(3, 1, 1)


def pixels(count=4, size=16):
    return torch.randint(0, 256, (count, 3, size, size)).float()


def seen_by_student(images):
    return (images - column(MEAN)) / column(STD)


def test_it_stays_in_eval_mode_and_frozen_whatever_is_asked(checkpoint):
    teacher = Teacher(classifier(dropout=0.5), checkpoint)
    teacher.optimize()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    assert before
    images = torch.randn(8, 3, 16, 16)
    first = teacher(images)
    for _ in range(3):
        assert teacher.train() is teacher and teacher.train(True) is teacher
        assert not any(module.training for module in teacher.modules())
        assert torch.equal(teacher(images), first)
    assert torch.equal(teacher(images[:3]), first[:3]) or torch.allclose(teacher(images[:3]), first[:3], atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_no_gradient_passes_through(checkpoint):
    images = torch.randn(2, 3, 16, 16, requires_grad=True)
    assert not Teacher(classifier(), checkpoint)(images).requires_grad


def test_it_brings_the_students_images_to_its_own_normalization(checkpoint):
    teacher = Teacher(classifier(), checkpoint, mean=OWN_MEAN, std=OWN_STD)
    teacher.optimize()
    images = pixels()
    own = (images - column(OWN_MEAN)) / column(OWN_STD)
    expected = teacher.network(own)
    assert torch.equal(teacher(own), expected), 'without match_input its own normalization is taken for granted'
    teacher.match_input(MEAN, STD)
    torch.testing.assert_close(teacher(seen_by_student(images)), expected, rtol=1e-4, atol=1e-4)
    assert (teacher(own) - expected).abs().max() > 0.01
    teacher.match_input(None, None)
    torch.testing.assert_close(teacher(images), expected, rtol=1e-4, atol=1e-4)


def test_nothing_is_computed_where_both_normalize_alike(checkpoint):
    teacher = Teacher(classifier(), checkpoint, mean=MEAN, std=STD)
    teacher.match_input(tuple(MEAN), tuple(STD))
    images = torch.randn(2, 3, 16, 16)
    assert teacher.scale is None and torch.equal(teacher(images), teacher.network(images))


def test_a_teacher_without_a_normalization_takes_the_students(checkpoint):
    teacher = Teacher(classifier(), checkpoint)
    teacher.match_input(MEAN, STD)
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(teacher(images), teacher.network(images))


@pytest.mark.parametrize('size', [8, 24])
def test_it_resizes_as_if_the_pixels_were_resized_first(size, checkpoint):
    teacher = Teacher(classifier(), checkpoint, mean=OWN_MEAN, std=OWN_STD, size=size)
    teacher.match_input(MEAN, STD)
    images = pixels()
    resized = F.interpolate(images, (size, size), mode='bicubic', antialias=True).clamp(0, 255)
    expected = teacher.network((resized - column(OWN_MEAN)) / column(OWN_STD))
    torch.testing.assert_close(teacher(seen_by_student(images)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('own', [dict(mean=OWN_MEAN, std=OWN_STD, bgr=True), {}], ids=['own', "the student's"])
def test_what_it_enlarges_is_clipped_as_pillow_clips(own, checkpoint):
    """Bicubic interpolation overshoots beside an edge."""
    edge = np.zeros((8, 8, 3), np.uint8)
    edge[:, 4:] = 255
    teacher = Teacher(classifier(), checkpoint, size=32, **own)
    teacher.match_input(MEAN, STD)
    seen = teacher._see(seen_by_student(torch.from_numpy(edge).permute(2, 0, 1)[None].float()))
    mean, std = (OWN_MEAN, OWN_STD) if own else (MEAN, STD)
    found = (seen.flip(1) if own else seen) * column(std) + column(mean)
    expected = np.array(Image.fromarray(edge).resize((32, 32), Image.Resampling.BICUBIC))
    assert found.min() >= -1e-3 and found.max() <= 255 + 1e-3
    torch.testing.assert_close(found[0].permute(1, 2, 0), torch.from_numpy(expected).float(), rtol=0, atol=1)


def test_images_of_its_size_are_left_alone(checkpoint, monkeypatch):
    teacher = Teacher(classifier(), checkpoint, size=16)
    monkeypatch.setattr(F, 'interpolate', lambda *_, **__: pytest.fail('resized'))
    teacher(torch.randn(2, 3, 16, 16))


def test_blue_first(checkpoint):
    teacher = Teacher(classifier(), checkpoint, mean=OWN_MEAN, std=OWN_STD, bgr=True)
    teacher.match_input(MEAN, STD)
    images = pixels()
    expected = teacher.network(((images - column(OWN_MEAN)) / column(OWN_STD)).flip(1))
    torch.testing.assert_close(teacher(seen_by_student(images)), expected, rtol=1e-4, atol=1e-4)


def test_some_of_its_classes_in_the_students_order(checkpoint):
    images = torch.randn(2, 3, 16, 16)
    whole, some = Teacher(classifier(), checkpoint), Teacher(classifier(), checkpoint, classes=[4, 0, 5])
    assert torch.equal(some(images), whole(images)[:, [4, 0, 5]])
    assert (whole.num_classes, some.num_classes) == (6, 3)
    some.check_classes(3)


def test_another_number_of_classes_says_both_and_what_to_do(checkpoint):
    with pytest.raises(InputError, match=r'has 6 classes, the student 10: .*classes=\[…\]'):
        Teacher(classifier(), checkpoint).check_classes(10)


OPTIONS = dict(
    mean_and_std=dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0]),
    bgr=dict(bgr=True),
    size=dict(size=12),
    classes=dict(classes=[0, 1, 2, 3, 5, 4]),
    dtype=dict(dtype='bfloat16'),
)


@pytest.mark.parametrize('option', OPTIONS)
def test_every_option_reaches_the_answers_and_the_fingerprint(option, checkpoint):
    plain = dict(mean=OWN_MEAN, std=OWN_STD)
    teachers = [Teacher(classifier(), checkpoint, **options) for options in (plain, plain | OPTIONS[option])]
    for teacher in teachers:
        teacher.match_input(MEAN, STD)
    images = seen_by_student(pixels())
    assert not torch.equal(teachers[0](images), teachers[1](images))
    assert teachers[0].fingerprint() != teachers[1].fingerprint()


def test_the_fingerprint_is_that_of_the_weights(checkpoint):
    first, second = Teacher(classifier(), checkpoint), Teacher(classifier(), checkpoint, expected_top1=50.0)
    assert first.fingerprint() == second.fingerprint()
    second.network.head.fc.bias[0] += 1e-3
    assert first.fingerprint() != second.fingerprint()


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_in_half_precision_it_still_answers_in_float32(dtype, checkpoint):
    full, half = Teacher(classifier(), checkpoint), Teacher(classifier(), checkpoint, dtype=dtype)
    half.optimize()
    images = torch.randn(2, 3, 16, 16)
    assert {parameter.dtype for parameter in half.parameters()} == {getattr(torch, dtype)}
    for ambient in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=ambient):
            logits = half(images)
        assert logits.dtype == torch.float32
        torch.testing.assert_close(logits, full(images), rtol=0.1, atol=0.1)


def test_features_come_with_the_same_logits(checkpoint):
    teacher = Teacher(classifier(), checkpoint, classes=[1, 2])
    images = torch.randn(2, 3, 16, 16)
    assert teacher.extract(images)[1] == {}
    teacher = Teacher(classifier(), checkpoint, classes=[1, 2])
    teacher.tap(['stage3', 'class_maps'], images)
    logits, features = teacher.extract(images)
    assert torch.equal(logits, teacher(images))
    assert {tap: feature.shape for tap, feature in features.items()} == {
        'stage3': (2, 64, 4, 4),
        'class_maps': (2, 2, 4, 4),
    }
    torch.testing.assert_close(features['class_maps'].mean((2, 3)), logits, rtol=1e-4, atol=1e-4)


def test_a_tap_inside_of_a_folded_pair_is_refused(checkpoint):
    teacher = Teacher(classifier(), checkpoint)
    teacher.tap(['backbone.block1.0.conv1'], torch.randn(2, 3, 16, 16))
    with pytest.raises(InputError, match="the tap 'backbone.block1.0.conv1'.*model.teacher.fold=False"):
        teacher.optimize()


def test_the_network_is_read_before_it_is_folded(checkpoint):
    teacher = Teacher(classifier(), checkpoint)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in teacher.modules())
    before = teacher.peek(torch.ones(2, 3, 16, 16))[0]
    teacher.optimize()
    torch.testing.assert_close(teacher(torch.ones(2, 3, 16, 16)), before, rtol=1e-4, atol=1e-4)


def test_it_moves_as_a_whole(checkpoint):
    teacher = Teacher(classifier(), checkpoint, mean=OWN_MEAN, std=OWN_STD, classes=[1, 2])
    teacher.match_input(MEAN, STD)
    moved = copy.deepcopy(teacher).double()
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(moved(images.double()).float(), teacher(images), rtol=1e-4, atol=1e-4)


def test_random_weights_must_be_asked_for():
    with pytest.raises(InputError, match="no weights of its own: name a file.*checkpoint='random'"):
        Teacher(classifier())
    Teacher(classifier(), checkpoint='random')


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(mean=MEAN), 'both mean and std'),
        (dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]), 'multiply both by 255'),
        (dict(mean=MEAN, std=[1.0, 0.0, 1.0]), 'above zero'),
        (dict(mean=[float('nan')] * 3, std=STD), 'finite'),
        (dict(mean=[1.0], std=[1.0]), 'three numbers'),
        (dict(dtype='int8'), 'bfloat16, float16'),
        (dict(classes=[]), 'a list of class numbers'),
        (dict(classes=['cat']), 'a list of class numbers'),
        (dict(classes=[True, False]), 'a list of class numbers'),
        (dict(classes=[0, 6]), r'\[6\] outside of 0-5'),
        (dict(classes=[-1]), r'\[-1\] outside of 0-5'),
        (dict(classes=[1, 2, 1]), r'\[1\] more than once'),
        (dict(num_classes=7), 'num_classes=7 but the head of the config has 6'),
    ],
)
def test_wrong_options_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        Teacher(classifier(), 'random', **options)


def test_a_network_with_another_number_of_outputs_than_asked_is_refused():
    config = classifier()
    config['head'] = dict(type='StackedLinearClsHead', num_classes=6, in_channels=64, mid_channels=[8])
    assert Teacher(config, 'random').num_classes == 6


def test_it_can_be_a_part_of_a_file(checkpoint, tmp_path):
    weights = torch.load(checkpoint)
    torch.save(
        {f'teacher.{key}': value for key, value in weights.items()} | {'student.fc.weight': torch.zeros(2)},
        tmp_path / 'pair.pth',
    )
    part = Teacher(classifier(), tmp_path / 'pair.pth', prefix='teacher.')
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(part(images), Teacher(classifier(), checkpoint)(images))
