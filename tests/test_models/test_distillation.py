"""Distillation: what it trains, what it leaves alone, what its checkpoints hold."""

from __future__ import annotations

import copy
import pickle
from collections import Counter

import pytest
import torch
from mmengine.model import ExponentialMovingAverage, convert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from mmpretrain.structures import DataSample

from crld_zoo.distillers import KD, Distiller, PairDistiller
from crld_zoo.errors import InputError
from crld_zoo.models import distillation
from crld_zoo.networks.sources import build_network
from crld_zoo.registry import MODELS

CLASSES = 4
MEAN, STD = [120.0, 110.0, 100.0], [60.0, 61.0, 62.0]


def classifier(channels: int = 8, classes: int = CLASSES) -> dict:
    return dict(
        type='ImageClassifier',
        backbone=dict(type='CIFARResNet', depth=8, widths=(channels, channels, 2 * channels, 4 * channels)),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=classes, in_channels=4 * channels),
    )


def build(distiller: dict | None = None, **options):
    config = dict(
        type='Distillation',
        student=classifier(),
        teacher=dict(model=classifier(channels=16), checkpoint='random'),
        distiller=distiller or dict(type='CRLD', distiller=dict(type='KD')),
        data_preprocessor=dict(type='ViewPreprocessor', mean=MEAN, std=STD),
    )
    return MODELS.build({**config, **options})


SIZED = dict(type='ViewPreprocessor', mean=MEAN, std=STD, image_size=16)


def two_views(count: int = 8, size: int = 16) -> dict:
    generator = torch.Generator().manual_seed(1)
    inputs = [
        [torch.randint(0, 256, (3, size, size), generator=generator, dtype=torch.uint8) for _ in range(count)]
        for _ in range(2)
    ]
    samples = [DataSample().set_gt_label(index % CLASSES) for index in range(count)]
    return dict(inputs=inputs, data_samples=samples)


def train(model, steps: int) -> None:
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    for _ in range(steps):
        model.train()
        model.train_step(two_views(), optimizer)


def test_twenty_steps_leave_the_teacher_untouched_and_train_the_student():
    model = build(teacher=dict(model=classifier(channels=16), checkpoint='random', fold=False))
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in model.teacher.modules()), 'statistics to drift'
    teacher_before = {key: value.clone() for key, value in model.teacher.state_dict().items()}
    student_before = copy.deepcopy(model.student.state_dict())
    train(model, 20)
    assert teacher_before, 'a teacher without tensors would prove nothing'
    for key, value in model.teacher.state_dict().items():
        assert torch.equal(value, teacher_before[key]), key
    assert not any(module.training for module in model.teacher.modules())
    assert all(module.training for module in model.student.modules())
    changed = [key for key, value in model.student.state_dict().items() if not torch.equal(value, student_before[key])]
    assert set(changed) == set(student_before), 'every parameter and every statistic of the student moves'


def test_the_teacher_stays_in_eval_mode_whatever_is_called():
    model = build()
    assert model.train() is model
    assert model.teacher.train() is model.teacher
    assert not any(module.training for module in model.teacher.modules())
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())


def test_optimizer_ema_and_checkpoint_hold_no_teacher():
    model = build()
    of_teacher = {id(parameter) for parameter in model.teacher.parameters()}
    assert of_teacher
    assert not of_teacher & {id(parameter) for parameter in model.parameters()}
    assert set(get_state_dict(model)) == set(model.student.state_dict()) == set(model.state_dict())
    ema = ExponentialMovingAverage(model)
    assert ema.module.teacher is model.teacher
    count = sum(1 for _ in model.student.parameters())
    assert sum(1 for _ in ema.module.parameters()) == count


def test_a_checkpoint_is_the_plain_classifiers():
    model = build()
    train(model, 2)
    plain = build_network(classifier()).to(memory_format=torch.channels_last)  # for the same rounding
    plain.load_state_dict(get_state_dict(model), strict=True)
    images = torch.randn(3, 3, 16, 16)
    model.eval()
    plain.eval()
    assert torch.equal(plain(images), model(images))
    again = build()
    load_state_dict(again, plain.state_dict(), strict=True)
    again.eval()
    assert torch.equal(again(images), model(images))
    again = build()
    again.load_state_dict(plain.state_dict(), strict=True)
    assert torch.equal(again.eval()(images), model(images))


def test_ema_names_the_keys_as_the_checkpoint_does():
    model = build()
    ema = ExponentialMovingAverage(model)
    assert list(ema.module.state_dict()) == list(get_state_dict(model))
    restored = ExponentialMovingAverage(build())
    restored.load_state_dict(ema.state_dict(), strict=True)
    for key, value in ema.module.state_dict().items():
        assert torch.equal(restored.module.state_dict()[key], value)


class _Scaled(PairDistiller):
    """A distiller with a parameter of its own."""

    def __init__(self):
        super().__init__(ce_weight=1.0, kd_weight=1.0)
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def pair_loss(self, student, teacher, target):
        return self.scale * (student.logits - teacher.logits).square().mean(1)


def test_the_training_accuracy_is_that_of_the_labeled_images():
    model = build(dict(type='CRLD', distiller=dict(type='KD'))).eval()
    views = model.data_preprocessor(two_views(), training=True)['inputs']
    predicted = model(views['weak'], mode='tensor').argmax(1)
    target = predicted.clone()
    target[0], target[1:3] = (target[0] + 1) % CLASSES, -1
    losses = model(views, target, mode='loss')
    assert losses['top1'].item() == pytest.approx(100 * 5 / 6)
    assert 'top1' not in model(views, torch.eye(CLASSES)[predicted], mode='loss'), 'mixed labels have none'
    total, logged = model.parse_losses(losses)
    assert total == sum(loss for name, loss in losses.items() if 'loss' in name) and 'top1' in logged
    assert model(views, torch.full_like(target, -1), mode='loss')['top1'] == 0


def test_a_distillers_own_parameters_are_trained_and_not_the_students():
    model = build(distiller=_Scaled())
    train(model, 1)
    assert model.distiller.scale.item() != 2.0
    assert set(get_state_dict(model)) == set(model.student.state_dict())
    again = build(distiller=_Scaled())
    load_state_dict(again, get_state_dict(model), strict=True)
    assert again.distiller.scale.item() == 2.0


def test_the_networks_follow_the_memory_format_of_the_images():
    plain, last = (
        build(data_preprocessor=dict(type='ViewPreprocessor', mean=MEAN, std=STD, channels_last=chosen))
        for chosen in (False, True)
    )
    last.student.load_state_dict(plain.student.state_dict())
    last.teacher.load_state_dict(plain.teacher.state_dict())
    losses = []
    for model, layout in ((plain, torch.contiguous_format), (last, torch.channels_last)):
        filters = [
            parameter
            for network in (model.student, model.teacher)
            for parameter in network.parameters()
            if parameter.dim() == 4 and parameter.shape[1] > 1 and parameter.shape[2] > 1
        ]
        assert filters
        assert all(parameter.is_contiguous(memory_format=layout) for parameter in filters)
        losses.append(model(**model.data_preprocessor(two_views(), training=True), mode='loss'))
    for name, loss in losses[0].items():
        torch.testing.assert_close(losses[1][name], loss, rtol=1e-4, atol=1e-5, msg=name)


class _Recorder(Distiller):
    """Keeps what it is given."""

    views = ('weak', 'strong')

    def forward(self, student, teacher, target):
        self.student, self.teacher, self.target = student, teacher, target
        return dict(loss_ce=self.label_loss(student, target))


def test_every_view_reaches_both_networks_and_the_teacher_runs_once():
    model = build(distiller=_Recorder())
    passes = []
    model.teacher.network.register_forward_hook(lambda *_: passes.append(1))
    batch = model.data_preprocessor(two_views(), training=True)
    model.train()
    model(**batch, mode='loss')
    recorded = model.distiller
    assert len(passes) == 1
    for name, view in batch['inputs'].items():
        torch.testing.assert_close(recorded.teacher[name].logits, model.teacher(view), rtol=1e-5, atol=1e-6)
        assert recorded.student[name].logits.requires_grad
        assert not recorded.teacher[name].logits.requires_grad
    assert torch.equal(recorded.target, torch.arange(8) % CLASSES)


def test_separate_and_concatenated_forward_differ_by_the_batch_statistics_only():
    separate, concat = build(distiller=_Recorder()), build(distiller=_Recorder(), student_forward='concat')
    concat.load_state_dict(separate.state_dict())
    batch = separate.data_preprocessor(two_views(), training=True)
    for training in (False, True):  # a training pass moves the statistics that eval mode uses
        for model in (separate, concat):
            model.train(training)(**batch, mode='loss')
        equal = torch.allclose(
            separate.distiller.student['strong'].logits, concat.distiller.student['strong'].logits, rtol=1e-4, atol=1e-5
        )
        assert equal != training


class _Featured(_Recorder):
    taps = ('stage1', 'embedding')


def test_features_come_only_for_those_who_ask():
    for distiller, expected in ((_Recorder(), 0), (_Featured(), 2)):
        model = build(distiller=distiller, data_preprocessor=SIZED)
        model(**model.data_preprocessor(two_views(), training=True), mode='loss')
        for predictions in (model.distiller.student, model.distiller.teacher):
            assert {len(prediction.features) for prediction in predictions.values()} == {expected}
    assert {tap: feature.shape[1:] for tap, feature in model.distiller.teacher['weak'].features.items()} == {
        'stage1': (16, 16, 16),
        'embedding': (64,),
    }


def test_predict_takes_samples_or_labels():
    model = build().eval()
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    labels = torch.arange(8) % CLASSES
    samples = [DataSample().set_gt_label(int(label)) for label in labels]
    by_sample = model.val_step(dict(inputs=list(images), data_samples=samples))
    by_label = model.val_step(dict(inputs=images, data_samples=labels))
    assert len(by_label) == len(by_sample) == 8
    for one, other in zip(by_label, by_sample, strict=True):
        assert torch.equal(one['gt_label'], other.gt_label) and torch.equal(one['pred_label'], other.pred_label)
        torch.testing.assert_close(one['pred_score'], other.pred_score)


def test_training_needs_the_teacher_and_testing_does_not():
    model = build(teacher=None)
    model.eval().val_step(dict(inputs=torch.zeros(2, 3, 16, 16, dtype=torch.uint8), data_samples=torch.zeros(2).long()))
    with pytest.raises(InputError, match='CRLD learns from a teacher, but model.teacher is None'):
        train(model, 1)


def test_a_teacher_that_nobody_listens_to_is_left_out():
    assert build(distiller=dict(type='CrossEntropy')).teacher is None


def test_other_class_count_is_refused():
    with pytest.raises(InputError, match='has 7 classes, the student 4'):
        build(teacher=dict(model=classifier(classes=7), checkpoint='random'))


def test_missing_view_is_named():
    model = build()
    with pytest.raises(InputError, match='CRLD needs the views weak, strong, but the data has only weak'):
        model(
            **model.data_preprocessor(
                dict(inputs=torch.zeros(4, 3, 16, 16, dtype=torch.uint8), data_samples=torch.zeros(4).long()),
                training=True,
            ),
            mode='loss',
        )


def test_unknown_options_are_refused():
    with pytest.raises(InputError, match="student_forward must be 'separate' or 'concat'"):
        build(student_forward='both')
    with pytest.raises(InputError, match="mode must be 'loss', 'predict' or 'tensor'"):
        build()(torch.zeros(1, 3, 16, 16), mode='train')


@pytest.mark.parametrize(
    ('target', 'says'),
    [
        (torch.tensor([0, 1, 2]), '2 images, but 3 labels'),
        (torch.tensor([[0.5, 0.5], [1.0, 0.0]]), 'probabilities of 2 classes, but the student has 4 outputs'),
    ],
)
def test_labels_fit_the_batch(target, says):
    with pytest.raises(InputError, match=says):
        build(teacher=None, distiller=dict(type='CrossEntropy')).loss(torch.randn(2, 3, 16, 16), target)


@pytest.mark.parametrize(
    ('mean', 'std', 'says'),
    [
        ([0.5] * 3, [0.25] * 3, 'std=.* of ClsDataPreprocessor is on the scale 0-1'),
        ([0.5] * 3, [60.0] * 3, 'mean=.* of ClsDataPreprocessor is on the scale 0-1'),
        ([120.0], [0.25], 'std=.* is on the scale 0-1'),
        ([120.0] * 3, [60.0, 0.0, 60.0], 'the std above zero'),
    ],
)
def test_a_preprocessor_of_others_normalizes_pixels_too(mean, std, says):
    with pytest.raises(InputError, match=says):
        build(data_preprocessor=dict(type='ClsDataPreprocessor', mean=mean, std=std))


@pytest.mark.parametrize('normalization', [{}, dict(mean=[127.5], std=[127.5]), dict(mean=[0.0] * 3, std=[1.0] * 3)])
def test_a_preprocessor_of_others_may_normalize_otherwise(normalization):
    build(data_preprocessor=dict(type='ClsDataPreprocessor', **normalization))


def test_the_student_sees_a_smaller_view_than_its_teacher():
    held = [dict(type=method, student_view='small') for method in ('KD', 'AT', 'SP')]
    views = dict(weak=[], small=[dict(type='Resize', size=8)])
    model = build(dict(type='Sum', distillers=held), data_preprocessor=dict(SIZED, views=views)).train()
    seen = {}
    for name in ('student', 'teacher'):
        network = model.student if name == 'student' else model.teacher.network
        network.backbone.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0].shape[2:]}))
    batch = two_views()
    losses = model(**model.data_preprocessor(dict(batch, inputs=batch['inputs'][0]), True), mode='loss')
    assert seen == dict(student=(8, 8), teacher=(16, 16))
    assert {name for name in losses if 'loss' in name} == {'loss_ce', 'loss_kd', 'loss_at', 'loss_sp'}
    assert all(loss > 0 for name, loss in losses.items() if 'loss' in name)


def test_views_of_other_sizes_and_lengths_run_by_themselves():
    model = build(distiller=_Recorder()).eval()
    inputs = dict(weak=torch.randn(2, 3, 16, 16), strong=torch.randn(6, 3, 8, 8))
    for name, prediction in model.teacher_predictions(inputs).items():
        torch.testing.assert_close(prediction.logits, model.teacher(inputs[name]), rtol=1e-5, atol=1e-6)
    longer = dict(weak=torch.randn(2, 3, 16, 16), strong=torch.randn(6, 3, 16, 16))
    for name, prediction in model.teacher_predictions(longer).items():
        torch.testing.assert_close(prediction.logits, model.teacher(longer[name]), rtol=1e-5, atol=1e-6)


def test_features_need_to_know_the_size_of_the_images():
    with pytest.raises(InputError, match="nobody says how large the view 'weak' is: set data_preprocessor.image_size"):
        build(distiller=_Featured())


def test_the_students_first_weights_are_the_same_under_every_method():
    states = []
    for distiller in (dict(type='KD'), dict(type='CrossEntropy'), _Featured()):
        torch.manual_seed(3)
        states.append(build(distiller=distiller, data_preprocessor=SIZED).student.state_dict())
    for state in states[1:]:
        for key, value in state.items():
            assert torch.equal(value, states[0][key]), key


def test_building_leaves_the_random_stream_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    build(distiller=_Featured(), data_preprocessor=SIZED)
    assert torch.equal(torch.random.get_rng_state(), before)


class _Table(KD):
    """Counts the samples of each class, as a class table would."""

    def __init__(self):
        super().__init__()
        self.register_buffer('count', torch.zeros(CLASSES))
        self.scale = torch.nn.Parameter(torch.ones(()))

    def observe(self, student, teacher, target):
        assert not student['weak'].logits.requires_grad
        self.count += torch.bincount(target, minlength=CLASSES)


def test_what_a_distiller_remembers_is_no_part_of_the_students_checkpoint():
    model = build(distiller=_Table())
    train(model, 1)
    assert torch.equal(model.distiller.count, torch.zeros(CLASSES)), 'nobody observed yet'
    model.observe()
    assert model.distiller.count.sum() == 8
    assert not any('distiller' in key for key in model.state_dict())
    assert set(model.state_dict()) == set(model.student.state_dict())
    assert model.distiller.scale in set(model.parameters()), 'it is trained with the student'
    before = model.distiller.count.clone()
    assert not model.load_state_dict(model.state_dict()).missing_keys
    assert torch.equal(model.distiller.count, before)


def test_a_step_that_nobody_observed_is_an_error():
    model = build(distiller=_Table())
    with pytest.raises(InputError, match='call model.observe'):
        train(model, 2)


def test_an_averaged_copy_has_no_distiller():
    model = build(distiller=_Table())
    average = copy.deepcopy(model)
    assert not hasattr(average, 'distiller') and hasattr(model, 'distiller')
    assert average.state_dict().keys() == model.state_dict().keys()
    names = [name for name, _ in average.named_buffers()]
    assert [name for name, _ in model.named_buffers()][: len(names)] == names, 'the average pairs them by their order'
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(average.eval()(images), model.eval()(images))


def test_pickling_keeps_the_teacher():
    model = build()
    again = pickle.loads(pickle.dumps(model))
    for key, value in model.teacher.state_dict().items():
        assert torch.equal(again.teacher.state_dict()[key], value)


def test_casts_take_the_teacher_along():
    model = build().double()
    assert {parameter.dtype for parameter in model.teacher.parameters()} == {torch.float64}


def test_batch_norms_over_all_gpus_are_the_students_alone():
    model = build(teacher=dict(model=classifier(channels=16), checkpoint='random', fold=False))
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in model.teacher.modules())
    keys, teacher = list(model.state_dict()), copy.deepcopy(list(model.teacher.modules()))
    converted = convert_sync_batchnorm(model, 'torch')
    kinds = Counter(type(module) for module in converted.modules())
    assert kinds[torch.nn.SyncBatchNorm] and not kinds[torch.nn.BatchNorm2d]
    assert list(converted.state_dict()) == keys
    assert list(map(type, converted.teacher.modules())) == list(map(type, teacher))
    assert converted._taps.module._network is converted.student


def test_a_plain_module_is_a_student():
    """It is given what a classifier has: its modes, its class count, and a refusal of what is none."""
    pooled = (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    plain = torch.nn.Sequential(*pooled, torch.nn.Linear(3, CLASSES))
    model = build(dict(type='KD'), student=plain)
    batch = model.data_preprocessor(two_views(), True)
    assert model(**batch, mode='loss')['loss_kd'].requires_grad
    scores = model(batch['inputs']['weak'], batch['data_samples'], mode='predict')[0]
    assert scores.pred_score.shape == (CLASSES,)
    maps = torch.nn.Conv2d(3, CLASSES, 1)
    with pytest.raises(InputError, match='does not tell its number of classes|a classifier gives one tensor of logits'):
        build(dict(type='KD'), student=maps)


def test_a_student_that_wants_another_normalization_is_told(monkeypatch):
    """Its config's mean and std do not count, and it may have been trained with them."""
    student = dict(
        type='ImageClassifier',
        backbone=dict(type='CIFARResNet', depth=8),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=64),
        data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    )
    said: list[str] = []
    monkeypatch.setattr(distillation, 'print_log', lambda message, **_: said.append(message))

    def build(mean: float) -> list[str]:
        said.clear()
        preprocessor = dict(type='ViewPreprocessor', mean=[mean] * 3, std=[127.5] * 3)
        model = dict(
            student=copy.deepcopy(student), distiller=dict(type='CrossEntropy'), data_preprocessor=preprocessor
        )
        MODELS.build(dict(type='Distillation', **model))
        return said

    (message,) = build(120.0)
    assert 'mean=[127.5, 127.5, 127.5]' in message and 'get mean=[120.0, 120.0, 120.0]' in message
    assert not build(127.4)
    del student['data_preprocessor']
    assert not build(120.0)
