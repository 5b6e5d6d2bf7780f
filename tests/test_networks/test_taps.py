"""Taps: the same names give the same kinds of tensors in every library's networks."""

import copy
import json

import pytest
import torch
from torch import nn

from crld_zoo.errors import InputError, UnknownNameError
from crld_zoo.networks import Taps, build_network, pre_activation_norms
from crld_zoo.networks.folding import fold_batch_norms


def torchvision_model(name, **options):
    return dict(type='TorchvisionClassifier', model_name=name, num_classes=10, **options)


def timm_model(name, **options):
    return dict(type='TimmClassifier', model_name=name, num_classes=10, **options)


def mmpretrain_model(backbone, channels, **head):
    neck = None if head else dict(type='GlobalAveragePooling')
    head = dict(type='LinearClsHead') | head
    return dict(
        type='ImageClassifier', backbone=backbone, neck=neck, head=head | dict(num_classes=10, in_channels=channels)
    )


STAGES = {  # model, size, shapes of the stages, width of the embedding, side of the class maps or None
    'resnet8': ('crld_zoo::resnet8', 32, [(16, 32, 32), (32, 16, 16), (64, 8, 8)], 64, 8),
    'wrn_16_2': ('crld_zoo::wrn_16_2', 32, [(32, 32, 32), (64, 16, 16), (128, 8, 8)], 128, 8),
    'vgg8': ('crld_zoo::vgg8', 32, [(128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 4, 4)], 512, 4),
    'mobilenet_v2': (
        'crld_zoo::mobilenet_v2_half', 32, [(12, 16, 16), (16, 8, 8), (48, 4, 4), (160, 2, 2)], 1280, 2
    ),
    'shufflenet_v1': ('crld_zoo::shufflenet_v1', 32, [(240, 16, 16), (480, 8, 8), (960, 4, 4)], 960, 4),
    'shufflenet_v2': ('crld_zoo::shufflenet_v2', 32, [(116, 16, 16), (232, 8, 8), (464, 4, 4)], 1024, 4),
    'resnet18_cifar': (
        'crld_zoo::resnet18_cifar', 32, [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)], 512, 4
    ),
    'mobilenet_v1': ('crld_zoo::mobilenet_v1', 64, [(128, 16, 16), (256, 8, 8), (512, 4, 4), (1024, 2, 2)], 1024, 2),
    'mmpretrain resnet': (
        mmpretrain_model(dict(type='ResNet', depth=18), 512), 64,
        [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)], 512, 2,
    ),
    'mmpretrain mobilenet': (
        mmpretrain_model(dict(type='MobileNetV2'), 1280), 64,
        [(24, 16, 16), (32, 8, 8), (96, 4, 4), (1280, 2, 2)], 1280, 2,
    ),
    'mmpretrain vit': (
        mmpretrain_model(
            dict(type='VisionTransformer', arch='deit-tiny', img_size=64, patch_size=16), 192,
            type='VisionTransformerClsHead',
        ), 64, [(17, 192)] * 4, 192, None,
    ),
    'torchvision resnet': (
        torchvision_model('resnet18'), 64, [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)], 512, 2
    ),
    'torchvision mobilenet': (
        torchvision_model('mobilenet_v3_small'), 64, [(16, 16, 16), (24, 8, 8), (48, 4, 4), (576, 2, 2)], 1024, None
    ),
    'torchvision vgg': (
        torchvision_model('vgg11_bn'), 32, [(128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)], 4096, None
    ),
    'torchvision densenet': (
        torchvision_model('densenet121'), 64, [(256, 16, 16), (512, 8, 8), (1024, 4, 4), (1024, 2, 2)], 1024, 2
    ),
    'timm resnet': (timm_model('resnet18'), 64, [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)], 512, 2),
    'timm mobilenet': (
        timm_model('mobilenetv3_small_050'), 64, [(8, 16, 16), (16, 8, 8), (24, 4, 4), (288, 2, 2)], 1024, None
    ),
    'timm vit': (timm_model('vit_tiny_patch16_224', img_size=64), 64, [(17, 192)] * 4, 192, None),
    'timm swin, channels last': (
        timm_model('swin_tiny_patch4_window7_224', img_size=64, window_size=2), 64,
        [(96, 16, 16), (192, 8, 8), (384, 4, 4), (768, 2, 2)], 768, 2,
    ),
}  # fmt: skip


def images_of(size, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def build(model):
    if 'Timm' in str(model):
        pytest.importorskip('timm')
    torch.manual_seed(0)
    return build_network(model, num_classes=10 if isinstance(model, str) else None)


@pytest.mark.parametrize('name', STAGES)
def test_every_network_has_its_stages_and_its_embedding_by_name(name):
    model, size, stages, width, side = STAGES[name]
    network, images = build(model), images_of(size)
    names = [f'stage{number}' for number in range(1, len(stages) + 1)]
    names += [f'{stage}:pre' for stage in names] + ['embedding']
    taps = Taps(network, names, images)
    network.eval()
    logits, features = taps.run(network, images)
    assert list(features) == names
    for number, shape in enumerate(stages, start=1):
        assert features[f'stage{number}'].shape == (2, *shape)
        assert features[f'stage{number}:pre'].shape == (2, *shape)
    assert features['embedding'].flatten(1).shape == (2, width)
    assert torch.equal(logits, network(images))
    if side is None:
        with pytest.raises(InputError, match='class maps'):
            Taps(network, ['class_maps'], images)
        return
    logits, features = Taps(network, ['last_map', 'class_maps', 'class_maps:nobias'], images).run(network, images)
    assert features['class_maps'].shape == (2, 10, side, side)
    means = {name: features[name].mean((2, 3)) for name in features}
    assert torch.allclose(means['class_maps'], logits, rtol=1e-3, atol=1e-4 * logits.abs().max().item())
    assert means['last_map'].shape == (2, width)


@pytest.mark.parametrize(
    'name', ['resnet8', 'vgg8', 'shufflenet_v1', 'shufflenet_v2', 'mmpretrain resnet', 'timm resnet']
)
def test_a_stage_is_the_activation_of_what_pre_gives(name):
    model, size, stages, *_ = STAGES[name]
    network, images = build(model), images_of(size)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # timm's branches start at zero
            nn.init.ones_(module.weight)
    names = [f'stage{number}{end}' for number in range(1, len(stages) + 1) for end in ('', ':pre')]
    features = Taps(network, names, images).run(network.train(), images)[1]
    for number in range(1, len(stages) + 1):
        before, after = features[f'stage{number}:pre'], features[f'stage{number}']
        assert before.min() < 0
        assert torch.equal(before.relu(), after)


def test_a_pre_activation_network_gives_the_norm_of_the_signed_map():
    network, images = build('crld_zoo::wrn_16_1').eval(), images_of(32)
    features = Taps(network, ['stage1', 'stage1:pre', 'stage3', 'stage3:pre', 'last_map'], images).run(network, images)[
        1
    ]
    backbone = network.backbone
    assert torch.equal(features['stage1:pre'], backbone.block2[0].bn1(features['stage1']))
    assert torch.equal(features['stage3:pre'], backbone.bn1(features['stage3']))
    assert torch.equal(features['last_map'], features['stage3:pre'].relu())


def test_a_module_and_its_input_by_path():
    network, images = build('crld_zoo::resnet8').eval(), images_of(32)
    names = ['backbone.layer2', 'backbone.layer3.0:input', 'stage2', 'head.fc']
    logits, features = Taps(network, names, images).run(network, images)
    assert torch.equal(features['backbone.layer2'], features['stage2'])
    assert torch.equal(features['backbone.layer3.0:input'], features['stage2'])
    assert torch.equal(features['head.fc'], logits)


class ChangesInPlace(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.first, self.act, self.fc = nn.Linear(4, 4), change, nn.Linear(4, 2)

    def forward(self, x):
        x = self.first(x.flatten(1))
        return self.fc(self.act(x))


@pytest.mark.parametrize(
    'change',
    [
        nn.ReLU(inplace=True),
        nn.Dropout(0.9, inplace=True),
        type('Add', (nn.Module,), {'forward': lambda _, x: x.add_(9)})(),
    ],
    ids=['ReLU', 'dropout', 'add'],
)
def test_what_is_changed_in_place_later_is_given_as_it_was(change):
    network, images = ChangesInPlace(change), torch.randn(3, 4)
    features = Taps(network, ['first'], images).run(network.train(), images)[1]
    assert torch.equal(features['first'], network.first(images))


def test_the_last_run_of_a_module_counts():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(self.fc(x)) + 0

    network, images = Twice(), torch.randn(3, 4)
    features = Taps(network, ['fc', 'fc:input'], images).run(network, images)[1]
    assert torch.equal(features['fc:input'], network.fc(images))
    assert torch.equal(features['fc'], network.fc(network.fc(images)))


def test_gradients_pass_through_what_is_tapped():
    network, images = build('crld_zoo::resnet8').train(), images_of(32)
    logits, features = Taps(network, ['stage2:pre', 'class_maps'], images).run(network, images)
    (features['stage2:pre'].square().mean() + features['class_maps'].mean() + logits.mean()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_no_names_no_hooks_and_no_probe():
    network, images = build('crld_zoo::resnet8').eval(), images_of(32)

    def hooks():
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())

    before = hooks()
    logits, features = Taps(network, ()).run(network, images)
    assert features == {} and torch.equal(logits, network(images))
    taps = Taps(network, ['embedding'], images)
    taps.run(network, images)
    assert hooks() == before  # so deep copies, and who runs the network by itself, meet none
    with pytest.raises(ZeroDivisionError):
        taps.run(lambda _: 1 / 0, images)
    assert hooks() == before


def test_the_probe_changes_nothing_of_the_network():
    network, images = build('crld_zoo::resnet8').train(), images_of(32)
    network.backbone.eval()
    state, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    Taps(network, ['stage1', 'embedding'], images)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training and not network.backbone.layer1.training and network.head.training


@pytest.mark.parametrize(
    'name, hint',
    [
        ('stage5', 'stage1, stage2, stage3'),
        ('stage0', 'stage1, stage2, stage3'),
        ('backbone.layr1', 'nearest: backbone.layer1'),
        ('embeding', 'nearest: embedding'),
        ('backbone.layer1:output', 'stages stage1'),
    ],
)
def test_a_wrong_name_lists_the_nearest_and_the_stages(name, hint):
    with pytest.raises(UnknownNameError, match=hint):
        Taps(build('crld_zoo::resnet8'), [name], images_of(32))


def test_names_need_a_probe():
    with pytest.raises(InputError, match='give a probe'):
        Taps(build('crld_zoo::resnet8'), ['stage1'])


def test_a_network_without_a_linear_classifier_has_no_embedding():
    with pytest.raises(InputError, match='no embedding'):
        Taps(nn.Sequential(nn.Linear(4, 2), nn.Softmax(1)), ['embedding'], torch.randn(2, 4))


def test_taps_outlive_folding_and_refuse_what_it_takes_away():
    network, images = build('crld_zoo::wrn_16_1').eval(), images_of(32)
    taps = Taps(network, ['stage1:pre', 'stage3', 'backbone.block1.0.bn2'], images)
    before = taps.run(network, images)[1]
    fold_batch_norms(network, 'WRN', [32])
    after = taps.run(network, images)[1]
    for name in before:
        assert torch.allclose(before[name], after[name], atol=1e-4)
    for name in ('backbone.block1.0.conv1', 'backbone.block1.0.bn2:input'):
        with pytest.raises(InputError, match='fold'):
            Taps(network, [name], images)


@pytest.mark.parametrize(
    'name, norms',
    [
        ('resnet8', ['layer1.0.bn2', 'layer2.0.bn2', 'layer3.0.bn2']),
        ('wrn_16_2', ['block2.0.bn1', 'block3.0.bn1', 'bn1']),
        ('vgg8', ['block1.1', 'block2.1', 'block3.1', 'block4.1']),
        ('torchvision resnet', [f'layer{stage}.1.bn2' for stage in (1, 2, 3, 4)]),
        ('timm resnet', [f'layer{stage}.1.bn2' for stage in (1, 2, 3, 4)]),
        ('mobilenet_v1', [f'layers.{layer}.4' for layer in (3, 5, 11, 13)]),
    ],
)
def test_the_norm_behind_each_pre_activation(name, norms):
    model, size, *_ = STAGES[name]
    network = build(model)
    inner = getattr(network, 'backbone', getattr(network, 'model', None))
    found = pre_activation_norms(network, images_of(size))
    assert [id(norm) for norm in found] == [id(inner.get_submodule(path)) for path in norms]


@pytest.mark.parametrize('name', ['shufflenet_v2', 'timm vit'])
def test_a_stage_that_ends_with_no_norm_of_its_own_says_so(name):
    model, size, *_ = STAGES[name]
    with pytest.raises(InputError, match='does not end with a batch norm'):
        pre_activation_norms(build(model), images_of(size))


@pytest.mark.parametrize(
    'config, stages',
    [
        (
            dict(model_type='resnet', architectures=['ResNetForImageClassification'], layer_type='basic',
                 depths=[1, 1, 1, 1], hidden_sizes=[16, 24, 32, 40], embedding_size=8),
            [(16, 16, 16), (24, 8, 8), (32, 4, 4), (40, 2, 2)],
        ),
        (
            dict(model_type='vit', hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
                 image_size=64, patch_size=16),
            [(17, 32)] * 4,
        ),
    ],
)  # fmt: skip
def test_hugging_face_networks_from_a_folder(config, stages, tmp_path):
    pytest.importorskip('transformers')
    labels = dict(id2label={str(index): str(index) for index in range(10)})
    (tmp_path / 'config.json').write_text(json.dumps(config | labels))
    network, images = build_network(str(tmp_path)).eval(), images_of(64)
    names = [f'stage{number}' for number in (1, 2, 3, 4)]
    _, features = Taps(network, [*names, 'embedding'], images).run(network, images)
    assert [tuple(features[name].shape[1:]) for name in names] == stages
    assert features['embedding'].flatten(1).shape == (2, stages[-1][0] if len(stages[-1]) == 3 else 32)
