"""The teacher's accuracy before training: measured once, kept, and held against what is expected."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.data import DataLoader, Dataset

from crld_zoo.datasets import InMemoryDataset, as_batch
from crld_zoo.engine import teacher_check
from crld_zoo.engine.teacher_check import TeacherAccuracyHook, guesses, measure_accuracy
from crld_zoo.errors import InputError
from crld_zoo.models.ensemble import TeacherEnsemble
from crld_zoo.networks.sources import build_network
from crld_zoo.views import ViewPreprocessor

COUNT, CLASSES = 22, 4


class BrightestQuarter(nn.Module):
    """A teacher that is right about images whose brightest quarter is their class; it counts its calls."""

    def __init__(self, expected_top1=None, shift=0):
        super().__init__()
        self.name, self.expected_top1, self.shift, self.calls, self.num_classes = (
            'quarter',
            expected_top1,
            shift,
            0,
            CLASSES,
        )

    def forward(self, inputs):
        self.calls += 1
        quarters = inputs.mean(1).unflatten(1, (2, -1)).unflatten(3, (2, -1)).mean((2, 4)).flatten(1)
        return quarters.roll(self.shift, 1)

    def check_classes(self, num_classes):
        pass

    def fingerprint(self):
        return str(self.shift)


def data(wrong=4):
    """Images and labels; ``wrong`` of the labels are not those that the teacher gives."""
    labels = torch.arange(COUNT) % CLASSES
    images = torch.zeros(COUNT, 3, 8, 8, dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = divmod(label, 2)
        image[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 200
    labels[:wrong] = (labels[:wrong] + 1) % CLASSES
    return images, labels


class Pipeline(Dataset):
    """The ordinary way: one image and one DataSample at a time."""

    def __init__(self, wrong):
        self.images, self.labels = data(wrong)

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return dict(inputs=self.images[index], data_samples=DataSample().set_gt_label(self.labels[index]))


def loader(wrong=4, fast=True):
    if fast:
        return DataLoader(InMemoryDataset(*data(wrong), classes=list('abcd')), batch_size=5, collate_fn=as_batch)
    return DataLoader(Pipeline(wrong), batch_size=5, collate_fn=pseudo_collate)


def runner(tmp_path, teacher, val=None):
    model = SimpleNamespace(teacher=teacher, data_preprocessor=ViewPreprocessor(mean=[100.0] * 3, std=[50.0] * 3))
    val_loop = SimpleNamespace(dataloader=loader() if val is None else val)
    hub = MessageHub.get_instance(str(tmp_path))
    return SimpleNamespace(model=model, val_loop=val_loop, message_hub=hub, logger=logging.getLogger('test'))


@pytest.mark.parametrize('fast', [True, False])
@pytest.mark.parametrize('wrong', [0, 4])
def test_it_measures_top1_over_every_image(tmp_path, wrong, fast):
    run = runner(tmp_path, BrightestQuarter(), loader(wrong, fast))
    measured = measure_accuracy(run.model, run.model.teacher, run.val_loop.dataloader)
    assert measured == pytest.approx(100 * (COUNT - wrong) / COUNT)


def test_it_logs_keeps_and_does_not_measure_again(tmp_path, caplog):
    teacher = BrightestQuarter(expected_top1=82.0)
    with caplog.at_level(logging.INFO, logger='test'):
        TeacherAccuracyHook().before_train(runner(tmp_path, teacher))
    assert teacher.calls == 5 and 'top-1 81.82' in caplog.text and 'expected 82.00' in caplog.text
    with caplog.at_level(logging.INFO, logger='test'):
        TeacherAccuracyHook().before_train(runner(tmp_path, teacher))
    assert teacher.calls == 5 and 'measured before' in caplog.text


def test_other_weights_and_other_data_are_measured_anew(tmp_path):
    TeacherAccuracyHook().before_train(runner(tmp_path, BrightestQuarter()))
    for teacher, val in ((BrightestQuarter(shift=1), None), (BrightestQuarter(), loader(wrong=1))):
        teacher.is_random = True
        TeacherAccuracyHook().before_train(runner(tmp_path, teacher, val))
        assert teacher.calls == 5


def test_a_teacher_far_below_is_an_error_that_names_the_causes(tmp_path):
    with pytest.raises(InputError) as caught:
        TeacherAccuracyHook().before_train(runner(tmp_path, BrightestQuarter(expected_top1=81.82, shift=1)))
    said = str(caught.value)
    for part in ('81.82', 'normalization', 'channels', 'classes', 'size'):
        assert part in said
    with pytest.raises(InputError):  # and again from what was kept
        TeacherAccuracyHook().before_train(runner(tmp_path, BrightestQuarter(expected_top1=81.82, shift=1)))


@pytest.mark.parametrize(
    ('expected_top1', 'tolerance', 'passes'),
    [
        (86.8, 5.0, True),
        (86.9, 5.0, False),
        (82.0, 0.0, False),
        (81.8, 0.0, True),
        (50.0, 5.0, True),
        (None, 5.0, True),
    ],
)
def test_the_tolerance(tmp_path, expected_top1, tolerance, passes):
    run = runner(tmp_path, BrightestQuarter(expected_top1=expected_top1))
    if passes:
        TeacherAccuracyHook(tolerance).before_train(run)
    else:
        with pytest.raises(InputError, match='far below'):
            TeacherAccuracyHook(tolerance).before_train(run)


def test_a_negative_tolerance_is_refused():
    with pytest.raises(InputError, match='0 or more'):
        TeacherAccuracyHook(tolerance=-1.0)


def test_members_of_an_ensemble_are_judged_by_themselves(tmp_path):
    good, bad = BrightestQuarter(expected_top1=81.82), BrightestQuarter(expected_top1=81.82, shift=1)
    guessing = BrightestQuarter(shift=2)
    TeacherAccuracyHook().before_train(runner(tmp_path, TeacherEnsemble([good, BrightestQuarter()])))
    for spoiled, said in ((bad, 'far below'), (guessing, 'guessing')):
        with pytest.raises(InputError, match=f'quarter .*{said}'):
            TeacherAccuracyHook().before_train(runner(tmp_path, TeacherEnsemble([good, spoiled], weights=[0.9, 0.1])))


@pytest.mark.parametrize('shift', [1, 2, 3])
def test_classes_in_another_order_show_without_an_expectation(tmp_path, shift):
    teacher = BrightestQuarter(shift=shift)
    with pytest.raises(InputError, match='22 images cannot tell from guessing among 4 classes'):
        TeacherAccuracyHook().before_train(runner(tmp_path, teacher))
    teacher.is_random = True  # as its config asks
    TeacherAccuracyHook().before_train(runner(tmp_path, teacher))


@pytest.mark.parametrize(
    ('right', 'images', 'classes', 'answer'),
    [
        (50, 50_000, 1000, True),
        (60, 50_000, 1000, True),
        (75, 50_000, 1000, False),
        (0, 100, 2, True),
        (50, 100, 2, True),
        (63, 100, 2, False),
        (7, 7, 2, False),  # 1 in 128
        (6, 7, 2, True),
        (0, 6, 2, False),  # nobody can show anything with six images
    ],
)
def test_who_guesses(right, images, classes, answer):
    assert guesses(right, images, classes) is answer


def test_without_a_teacher_or_validation_data_nothing_is_measured(tmp_path, caplog):
    TeacherAccuracyHook().before_train(runner(tmp_path, None))
    run = runner(tmp_path, BrightestQuarter(expected_top1=80.0))
    run.val_loop = None
    TeacherAccuracyHook().before_train(run)
    assert 'not checked' in caplog.text


def test_measuring_leaves_the_random_stream_where_it_was(tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    TeacherAccuracyHook().before_train(runner(tmp_path, BrightestQuarter()))
    assert torch.equal(torch.rand(1), expected)


def test_shards_of_several_processes_count_every_image_once(tmp_path, monkeypatch):
    run = runner(tmp_path, BrightestQuarter(), loader(wrong=1))
    correct = torch.ones(COUNT + 2, dtype=torch.bool)
    correct[0] = correct[COUNT] = correct[COUNT + 1] = False  # MMEngine repeats the first images to fill the shards
    monkeypatch.setattr(teacher_check, 'all_gather_object', lambda own: [correct[rank::3] for rank in range(3)])
    measured = measure_accuracy(run.model, run.model.teacher, run.val_loop.dataloader)
    assert measured == pytest.approx(100 * (COUNT - 1) / COUNT)


def small(classes=10):
    return dict(
        type='ImageClassifier',
        backbone=dict(type='CIFARResNet', depth=8, widths=(4, 4, 8, 16)),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=classes, in_channels=16),
    )


@pytest.mark.parametrize('resume', [False, True])
def test_in_a_run_it_is_measured_once_also_after_a_resume(tmp_path, resume, monkeypatch):
    torch.save(build_network(small(), checkpoint='random').state_dict(), tmp_path / 'teacher.pth')
    calls = []
    monkeypatch.setattr(teacher_check, 'measure_accuracy', lambda *_: calls.append(1) or 50.0)
    loaders = dict(
        batch_size=16,
        num_workers=0,
        dataset=dict(type='Digits', split='test'),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='as_batch'),
    )

    def train(epochs, resume):
        Runner(
            model=dict(
                type='Distillation',
                student=small(),
                distiller=dict(type='KD'),
                teacher=dict(model=small(), checkpoint=str(tmp_path / 'teacher.pth'), expected_top1=52.0),
                data_preprocessor=dict(type='ViewPreprocessor', mean=[100.0] * 3, std=[50.0] * 3),
            ),
            work_dir=str(tmp_path / 'work'),
            train_dataloader=loaders,
            val_dataloader=loaders,
            train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=5),
            val_cfg=dict(),
            val_evaluator=dict(type='Accuracy'),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            custom_hooks=[dict(type='TeacherAccuracyHook')],
            default_scope='crld_zoo',
            resume=resume,
            experiment_name=f'teacher_{epochs}_{resume}_{tmp_path.name}',
        ).train()

    train(1, False)
    if resume:
        train(2, True)
    assert len(calls) == 1
