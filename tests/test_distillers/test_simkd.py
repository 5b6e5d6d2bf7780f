"""SimKD: reference numbers of projector and logits, the student's head in training, checkpoint and test, bad input."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from crld_zoo.distillers import SimKD
from crld_zoo.engine.publish import inference_config
from crld_zoo.errors import InputError
from crld_zoo.launch.config import student_alone
from crld_zoo.models import Distillation
from crld_zoo.networks import build_network
from crld_zoo.networks.heads import TeacherHead
from crld_zoo.registry import MODELS

from ..test_engine import tiny_run
from ..test_engine.test_distiller_state import with_distiller
from .map_testers import check_gradients, maps_of, predictions, rows
from .testers import TinyNetwork, close, networks, total

ALTERNATIVES = dict(taps=['last_map', 'class_maps'], teacher_taps=['stage4:pre'])
WHERE = dict.fromkeys(('label_smoothing', 'class_weight', 'bce', 'bce_threshold'), dict(ce_weight=1.0))


class STUDENT(TinyNetwork):
    """One whose head is the teacher's."""

    def __init__(self, widths, num_classes: int) -> None:
        super().__init__(widths, num_classes)
        self.fc = TeacherHead(num_classes, widths[-1], teacher_channels=16)

    def forward(self, images):
        return self.fc((self.stages(images),))


def of_row(row: dict) -> TeacherHead:
    (map_s,), (map_t,) = maps_of(row)
    weight, bias = (
        torch.tensor(row['extra'][f'teacher_classifier_{name}'], dtype=torch.float64) for name in ('weight', 'bias')
    )
    size = map_t.shape[2] if map_t.shape[2] < map_s.shape[2] else None
    head = TeacherHead(len(bias), map_s.shape[1], map_t.shape[1], factor=row['params']['factor'], size=size).double()
    head.take_classifier(weight, bias)
    with torch.no_grad():
        for name, values in row['weights'].items():
            parameter = head.get_parameter(name.replace('transfer', 'projector'))
            parameter.copy_(torch.tensor(values, dtype=torch.float64))
    return head


@pytest.mark.parametrize('row', rows('simkd'))
def test_reference_numbers(row):
    head, (maps_s, maps_t) = of_row(row), maps_of(row)
    seen = []
    head.projector.register_forward_hook(lambda module, inputs, output: seen.append(output))
    logits = head((maps_s[0],))
    close(logits, row['outputs']['student_logits'])
    close(seen[0].mean(), row['outputs']['trans_feat_s_mean'])
    loss = total(
        SimKD()(predictions(seen, ('last_map',)), predictions(maps_t, ('last_map',)), torch.zeros(len(logits)).long())
    )
    parameters = {name.replace('projector', 'transfer'): value for name, value in head.named_parameters()}
    check_gradients(loss, row, maps_s, parameters)
    assert head.fc.weight.grad is None and not head.fc.weight.requires_grad


def test_formula_in_loops():
    generator = torch.Generator().manual_seed(0)
    map_s, map_t = (torch.randn(2, 3, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    expected = [
        sum((a - b) ** 2 for a, b in zip(s.flatten().tolist(), t.flatten().tolist(), strict=True)) / 12
        for s, t in zip(map_s, map_t, strict=True)
    ]
    distiller = SimKD()
    student, teacher = predictions([map_s], ('last_map',)), predictions([map_t], ('last_map',))
    close(distiller.pair(student['weak'], teacher['weak'], torch.zeros(2).long()), expected, rtol=1e-10)


HEAD = dict(type='TeacherHead', teacher_channels=64, factor=4)


def model_of(student: dict, teacher: str | dict = 'crld_zoo::resnet14', size: int = 16, **options) -> Distillation:
    return MODELS.build(
        dict(
            type='Distillation',
            student=student,
            teacher=dict(model=teacher, checkpoint='random') | dict(num_classes=3) | options,
            distiller=dict(type='SimKD'),
            data_preprocessor=dict(
                type='ViewPreprocessor', mean=[0.0] * 3, std=[255.0] * 3, image_size=size, channels_last=False
            ),
        )
    )


def test_the_student_classifies_as_the_teacher_does():
    model = model_of(dict(model='crld_zoo::resnet8', num_classes=3, head=HEAD))
    model.init_weights()
    head, other = model.student.head, model.teacher.network.head
    assert torch.equal(head.fc.weight, other.fc.weight) and torch.equal(head.fc.bias, other.fc.bias)
    assert head.projector[0].out_channels == 16
    maps = torch.rand(2, 64, 4, 4)
    head.projector = torch.nn.Identity()
    torch.testing.assert_close(head((maps,)), other((maps.mean((2, 3)),)))


def test_a_teacher_of_which_some_classes_count():
    head = dict(type='LinearClsHead', num_classes=5, in_channels=64)
    backbone = dict(type='CIFARResNet', depth=14)
    classifier = dict(type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head)
    model = model_of(
        dict(model='crld_zoo::resnet8', num_classes=2, head=HEAD), classifier, num_classes=None, classes=[4, 1]
    )
    assert torch.equal(model.student.head.fc.weight, model.teacher.network.head.fc.weight[[4, 1]])


def test_a_step_moves_the_projector_and_not_the_classifier():
    model = model_of(dict(model='crld_zoo::resnet8', num_classes=3, head=HEAD)).train()
    before = {name: value.detach().clone() for name, value in model.student.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    losses = model({'weak': torch.randn(4, 3, 16, 16)}, torch.tensor([0, 1, 2, 0]), mode='loss')
    assert losses['loss_ce'] == 0 < losses['loss_kd']
    total(losses).backward()
    optimizer.step()
    still = {name for name, value in model.student.named_parameters() if torch.equal(value, before[name])}
    assert still == {'head.fc.weight', 'head.fc.bias'}


def test_a_run_is_resumed_tested_and_published_with_its_head(tmp_path, monkeypatch):
    """The checkpoint is the student's, head and all; no teacher is needed for it."""
    base = tiny_run.config

    def config(folder, **changes) -> Config:
        cfg = with_distiller(base(folder), dict(type='SimKD'))
        cfg.model.student.head = HEAD
        cfg.merge_from_dict(changes)
        return cfg

    monkeypatch.setattr(tiny_run, 'config', config)
    options = {'default_hooks.checkpoint.snapshot_interval': 1}
    runner = tiny_run.train(tmp_path / 'whole')
    tiny_run.train(tmp_path / 'stopped', 7, **options)
    tiny_run.resume(tmp_path / 'stopped')
    whole, resumed = (torch.load(tmp_path / run / 'epoch_2.pth') for run in ('whole', 'stopped'))
    assert tiny_run.differences(whole, resumed) == []
    assert torch.equal(whole['state_dict']['head.fc.weight'], runner.model.teacher.network.head.fc.weight)
    images = torch.randn(2, 3, 16, 16)
    expected = runner.model.eval()(images)
    alone = MODELS.build(student_alone(config(tmp_path).model))
    published = MODELS.build(inference_config(config(tmp_path)).model)
    for network in (alone.student, published):
        network.load_state_dict({key: value for key, value in whole['state_dict'].items() if 'preproc' not in key})
        torch.testing.assert_close(network.eval()(images), expected)
        network.train()(images)  # its classifier came with the weights


def test_conformance_meets_the_teacher_s_head():
    """The tests of every distiller set this one up with a student of its kind."""
    built = networks(4, SimKD())
    assert isinstance(built.student, STUDENT) and not isinstance(built.teacher, STUDENT)


def test_bad_input_ends_in_a_sentence():
    with pytest.raises(InputError, match=r"give it a head=dict\(type='TeacherHead', teacher_channels=…\)"):
        model_of(dict(model='crld_zoo::resnet8', num_classes=3))
    with pytest.raises(InputError, match='made for 32 channels and 3 classes, .* has 64 and 3: set head.teacher_chan'):
        model_of(dict(model='crld_zoo::resnet8', num_classes=3, head=HEAD | dict(teacher_channels=32)))
    with pytest.raises(InputError, match='factor=65 leaves none of the teacher'):
        build_network('crld_zoo::resnet8', num_classes=3, head=HEAD | dict(factor=65))
    with pytest.raises(InputError, match='has no head in its config that head=TeacherHead could replace'):
        build_network('torchvision::resnet18', num_classes=3, head=HEAD)
    with pytest.raises(InputError, match="has no teacher's classifier yet: train it with SimKD"):
        build_network('crld_zoo::resnet8', num_classes=3, head=HEAD).train()(torch.zeros(2, 3, 16, 16))


def test_a_larger_map_than_the_teacher_s():
    """The teacher sees 224 pixels and ends with 7 positions a side, the student 64 and 16."""
    wide = HEAD | dict(teacher_channels=512)
    options = dict(teacher='torchvision::resnet18', size=64)
    with pytest.raises(InputError, match="the student's map has 16 positions a side, the teacher's 7: set head.size"):
        model_of(dict(model='crld_zoo::resnet8', num_classes=3, head=wide), **options)
    model = model_of(dict(model='crld_zoo::resnet8', num_classes=3, head=wide | dict(size=7)), **options).train()
    losses = model({'weak': torch.randn(4, 3, 64, 64)}, torch.tensor([0, 1, 2, 0]), mode='loss')
    assert losses['loss_kd'] > 0
