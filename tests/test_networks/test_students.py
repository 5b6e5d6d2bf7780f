"""What is built for a student or a teacher: new heads, parts, odd outputs, losses that no distiller uses."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

from crld_zoo.errors import InputError
from crld_zoo.models import Teacher
from crld_zoo.networks import build_network, count_classes
from crld_zoo.networks.sources import resolve, torchvision

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def classifier(classes=6, depth=8, **options):
    backbone = dict(type='CIFARResNet', depth=depth)
    head = dict(type='LinearClsHead', num_classes=classes, in_channels=64)
    return dict(type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head) | options


@pytest.mark.parametrize(
    'model', ['torchvision::mobilenet_v3_small', 'timm::resnet10t', 'mobilenet-v2_8xb32_in1k', 'crld_zoo::resnet8']
)
@pytest.mark.parametrize('classes', [7, 10])
def test_a_pretrained_student_with_a_new_head(model, classes, tmp_path):
    weights = build_network(model, num_classes=10).state_dict()
    torch.save(weights, tmp_path / 'x.pth')
    network = build_network(model, num_classes=classes, checkpoint=tmp_path / 'x.pth', head='new')
    changed = [key for key, value in network.state_dict().items() if not torch.equal(value, weights[key])]
    assert [key.rpartition('.')[2] for key in changed if 'bias' not in key] == ['weight']
    assert count_classes(network) == classes
    del weights[next(iter(weights))]
    torch.save(weights, tmp_path / 'x.pth')
    with pytest.raises(InputError, match='missing in the file'):
        build_network(model, num_classes=classes, checkpoint=tmp_path / 'x.pth', head='new')


def test_a_library_that_fills_its_network_itself_leaves_the_new_head(monkeypatch):
    import timm

    create, made = timm.create_model, []

    def create_model(model_name, pretrained=False, **options):
        made.append(create(model_name, **options))
        return made[-1]

    monkeypatch.setattr('timm.models.create_model', create_model)
    network = build_network('timm::resnet10t.c3_in1k', num_classes=7, checkpoint='own', head='new')
    source = next(model for model in made if model.num_classes == 1000)
    assert torch.equal(network.model.conv1[0].weight, source.conv1[0].weight)
    assert network(torch.randn(1, 3, 64, 64)).shape == (1, 7)


def test_a_new_head_needs_weights_for_the_rest():
    with pytest.raises(InputError, match="head='new'"):
        build_network('crld_zoo::resnet8', num_classes=4, checkpoint='random', head='new')


@pytest.mark.parametrize('prefix', [None, 'backbone'])
def test_weights_of_a_part_are_loaded_strictly_and_stay(prefix, tmp_path):
    whole = build_network(classifier()).state_dict()
    part = {key.removeprefix('backbone.'): value for key, value in whole.items() if key.startswith('backbone.')}
    torch.save(part if prefix is None else whole, tmp_path / 'x.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth'))
    if prefix:
        init['prefix'] = prefix

    def student(depth):
        config = classifier(depth=depth)
        config['backbone']['init_cfg'] = init
        return build_network(config)

    network = student(8)
    network.init_weights()  # as the Runner does
    assert all(torch.equal(value, part[key]) for key, value in network.backbone.state_dict().items())
    with pytest.raises(InputError, match='missing in the file'):
        student(14)


@pytest.mark.parametrize('name', ['googlenet', 'inception_v3'])
def test_networks_with_auxiliary_outputs_have_one(name, tmp_path):
    config = dict(type='TorchvisionClassifier', model_name=name, num_classes=3)
    network = build_network(config)
    weights = dict(network.state_dict()) | {'AuxLogits.fc.weight': torch.ones(1), 'aux1.fc.weight': torch.ones(1)}
    torch.save(weights, tmp_path / 'x.pth')
    build_network(config, checkpoint=tmp_path / 'x.pth')  # published files hold them
    assert network.train()(torch.randn(2, 3, 299, 299)).shape == (2, 3)
    with pytest.raises(InputError, match='aux_logits'):
        build_network(config | dict(aux_logits=True))


def test_what_a_network_does_to_its_input_is_in_its_mean_and_std():
    of_its_own = ('googlenet', 'inception_v3')
    for name in torchvision.names():
        stated = models.get_model_weights(name).DEFAULT.transforms().mean
        mean = resolve(f'torchvision::{name}').mean
        assert mean == pytest.approx([127.5 if name in of_its_own else 255 * value for value in stated]), name
    spec, white = resolve('torchvision::inception_v3'), torch.full((1, 3, 1, 1), 255.0)
    network = build_network('torchvision::inception_v3')
    seen = (white - torch.tensor(spec.mean).view(3, 1, 1)) / torch.tensor(spec.std).view(3, 1, 1)
    assert torch.equal(network.model._transform_input(seen), torch.ones(1, 3, 1, 1))


def test_a_head_with_several_outputs_is_refused():
    backbone = dict(type='Conformer', arch='tiny')
    head = dict(type='ConformerHead', in_channels=[256, 384], num_classes=3)
    with pytest.raises(InputError, match=r'logits \(N, K\)'):
        build_network(dict(type='ImageClassifier', backbone=backbone, head=head))


class TwoOutputs(nn.Sequential):
    def forward(self, images):
        logits = super().forward(images)
        return (logits, logits) if self.training else logits


def test_a_network_with_further_outputs_while_it_trains_is_no_student():
    network = TwoOutputs(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)).eval()
    with pytest.raises(InputError, match='TwoOutputs gives a tuple of 2 while it trains'):
        build_network(network)
    assert not network.training
    levit = dict(
        type='ImageClassifier',
        backbone=dict(type='LeViT', arch='128s', img_size=224),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LeViTClsHead', num_classes=3, in_channels=384),
    )
    with pytest.raises(InputError, match='cannot be trained .* take it as a teacher'):
        build_network(levit)
    assert Teacher(levit, 'random')(torch.zeros(2, 3, 224, 224)).shape == (2, 3)


@pytest.mark.parametrize('channels', [1, 2, 4])
def test_a_network_for_images_of_other_channels_is_refused(channels):
    with pytest.raises(InputError, match=rf'images of {channels} channels?; .* in_channels=3'):
        build_network(classifier(backbone=dict(type='CIFARResNet', depth=8, in_channels=channels)))


def test_a_size_that_a_network_does_not_take_is_not_logged_as_an_error(caplog):
    build_network(nn.Sequential(nn.Flatten(), nn.Linear(3 * 48 * 48, 2)))
    assert not caplog.records


def test_looking_at_the_output_changes_nothing():
    torch.manual_seed(0)
    network = build_network(classifier())
    state = torch.get_rng_state()
    torch.manual_seed(0)
    build_network(classifier())
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training and all(
        type(value) is not None and value.device.type == 'cpu' for value in network.buffers()
    )
    assert all(type(parameter) is nn.Parameter for parameter in network.parameters())


def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def test_any_module_is_a_teacher_or_a_student():
    own = module().eval()
    assert torch.equal(Teacher(own, mean=[0.0] * 3, std=[1.0] * 3)(IMAGES), own(IMAGES))
    network = build_network(module())
    assert torch.equal(network(IMAGES, mode='tensor'), own(IMAGES))
    assert list(network.state_dict()) == list(own.state_dict())
    assert network.predict(IMAGES)[0].pred_score.shape == (4,)


def test_a_teacher_with_one_output_has_two_classes():
    binary = classifier(1)
    binary['head']['topk'] = (1,)
    teacher = Teacher(binary, 'random')
    logits = teacher(IMAGES)
    assert teacher.num_classes == 2 and logits.shape == (2, 2)
    assert torch.equal(logits[:, 0], torch.zeros(2)) and (logits[:, 1] != 0).all()
    with pytest.raises(InputError, match='num_classes=2'):
        build_network(binary)


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='LabelSmoothLoss', label_smooth_val=0.1),
        dict(type='FocalLoss'),
        dict(type='CrossEntropyLoss', class_weight=[1.0] * 6),
        dict(type='CrossEntropyLoss', loss_weight=0.5),
    ],
)
def test_a_loss_of_the_student_that_no_distiller_uses_is_refused(loss):
    config = classifier()
    config['head']['loss'] = loss
    library = dict(type='TorchvisionClassifier', model_name='resnet18', num_classes=6, loss=loss)
    for model in (config, library):
        with pytest.raises(InputError, match='would never be used'):
            build_network(model)


def test_mixing_that_a_student_asks_for_is_refused():
    with pytest.raises(InputError, match=r'train_cfg\.augments'):
        build_network(classifier(train_cfg=dict(augments=dict(type='Mixup', alpha=0.2))))


def test_plain_cross_entropy_passes():
    config = classifier()
    config['head']['loss'] = dict(type='CrossEntropyLoss', loss_weight=1.0)
    build_network(config)


def test_a_config_file_that_declares_a_loss_is_warned_of(tmp_path, monkeypatch):
    config = classifier()
    config['head']['loss'] = dict(type='LabelSmoothLoss', label_smooth_val=0.1)
    (tmp_path / 'mine.py').write_text(f'model = {config!r}')
    said = []
    monkeypatch.setattr('crld_zoo.networks.sources.print_log', lambda message, **_: said.append(message))
    build_network(str(tmp_path / 'mine.py'))
    assert len(said) == 1 and 'would never be used' in said[0]
