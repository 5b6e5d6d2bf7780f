"""Published checkpoints of the CIFAR networks load, and give the logits that their own code gives.

The networks are written here once more, as functions over a state dict in the names of mdistiller's checkpoints:
a second derivation of both the names and the arithmetic.
"""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F

from crld_zoo.models import Teacher
from crld_zoo.networks.sources import build_network

CLASSES = 7


class Published:
    """A network that makes its random weights, under their published names, when it first meets them."""

    def __init__(self):
        self.weights = {}

    def new(self, name, *shape, scale=1.0, offset=0.0):
        if name not in self.weights:
            self.weights[name] = torch.randn(shape) * scale + offset
        return self.weights[name].double()

    def conv(self, x, name, out, size, stride=1, groups=1, bias=False):
        fan_in = x.shape[1] // groups * size**2
        weight = self.new(f'{name}.weight', out, x.shape[1] // groups, size, size, scale=(2 / fan_in) ** 0.5)
        return F.conv2d(x, weight, self.new(f'{name}.bias', out) if bias else None, stride, size // 2, 1, groups)

    def bn(self, x, name):
        weight = self.new(f'{name}.weight', x.shape[1], scale=0.2, offset=1.0)
        bias = self.new(f'{name}.bias', x.shape[1], scale=0.2)
        mean = self.new(f'{name}.running_mean', x.shape[1], scale=0.2)
        if f'{name}.running_var' not in self.weights:
            self.weights[f'{name}.running_var'] = torch.rand(x.shape[1]) + 0.5
            self.weights[f'{name}.num_batches_tracked'] = torch.tensor(5)
        return F.batch_norm(x, mean, self.weights[f'{name}.running_var'].double(), weight, bias)

    def linear(self, x, name):
        x = x.mean((2, 3))
        return F.linear(
            x,
            self.new(f'{name}.weight', CLASSES, x.shape[1], scale=x.shape[1] ** -0.5),
            self.new(f'{name}.bias', CLASSES),
        )


def resnet(depth, widths):
    def run(net, x):
        x = F.relu(net.bn(net.conv(x, 'conv1', widths[0], 3), 'bn1'))
        for stage, width in enumerate(widths[1:], 1):
            for block in range((depth - 2) // 6):
                name, stride = f'layer{stage}.{block}', 2 if stage > 1 and block == 0 else 1
                out = F.relu(net.bn(net.conv(x, f'{name}.conv1', width, 3, stride), f'{name}.bn1'))
                out = net.bn(net.conv(out, f'{name}.conv2', width, 3), f'{name}.bn2')
                if x.shape != out.shape:
                    x = net.bn(net.conv(x, f'{name}.downsample.0', width, 1, stride), f'{name}.downsample.1')
                x = F.relu(out + x)
        return net.linear(x, 'fc')

    return run


def resnet50(net, x):
    x = F.relu(net.bn(net.conv(x, 'conv1', 64, 3), 'bn1'))
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        width = 32 * 2**stage
        for block in range(blocks):
            name, stride = f'layer{stage}.{block}', 2 if stage > 1 and block == 0 else 1
            out = F.relu(net.bn(net.conv(x, f'{name}.conv1', width, 1), f'{name}.bn1'))
            out = F.relu(net.bn(net.conv(out, f'{name}.conv2', width, 3, stride), f'{name}.bn2'))
            out = net.bn(net.conv(out, f'{name}.conv3', 4 * width, 1), f'{name}.bn3')
            if block == 0:
                x = net.bn(net.conv(x, f'{name}.shortcut.0', 4 * width, 1, stride), f'{name}.shortcut.1')
            x = F.relu(out + x)
    return net.linear(x, 'linear')


def wrn(depth, k):
    def run(net, x):
        x = net.conv(x, 'conv1', 16, 3)
        for stage in (1, 2, 3):
            width = 8 * 2**stage * k
            for block in range((depth - 4) // 6):
                name, stride = f'block{stage}.layer.{block}', 2 if stage > 1 and block == 0 else 1
                active = F.relu(net.bn(x, f'{name}.bn1'))
                out = F.relu(net.bn(net.conv(active, f'{name}.conv1', width, 3, stride), f'{name}.bn2'))
                out = net.conv(out, f'{name}.conv2', width, 3)
                x = out + (x if x.shape[1] == width else net.conv(active, f'{name}.convShortcut', width, 1, stride))
        return net.linear(F.relu(net.bn(x, 'bn1')), 'fc')

    return run


def vgg(per_stage):
    def run(net, x):
        for stage, width in enumerate((64, 128, 256, 512, 512)):
            for index in range(per_stage):
                x = net.conv(x, f'block{stage}.{3 * index}', width, 3, bias=True)
                x = F.relu(net.bn(x, f'block{stage}.{3 * index + 1}'))
            if stage < 3:
                x = F.max_pool2d(x, 2)
        return net.linear(x, 'classifier')

    return run


def mobilenet_v2_half(net, x):
    x = F.relu(net.bn(net.conv(x, 'conv1.0', 16, 3, 2), 'conv1.1'))
    for stage, (expansion, width, blocks, first) in enumerate(
        ((1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1))
    ):
        for block in range(blocks):
            name, stride, hidden = f'blocks.{stage}.{block}.conv', first if block == 0 else 1, x.shape[1] * expansion
            out = F.relu(net.bn(net.conv(x, f'{name}.0', hidden, 1), f'{name}.1'))
            out = F.relu(net.bn(net.conv(out, f'{name}.3', hidden, 3, stride, groups=hidden), f'{name}.4'))
            out = net.bn(net.conv(out, f'{name}.6', width, 1), f'{name}.7')
            x = x + out if x.shape == out.shape else out
    return net.linear(F.relu(net.bn(net.conv(x, 'conv2.0', 1280, 1), 'conv2.1')), 'classifier.0')


def shuffle(x, groups):
    n, channels, height, width = x.shape
    return x.reshape(n, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


def shufflenet_v1(net, x):
    x = F.relu(net.bn(net.conv(x, 'conv1', 24, 1), 'bn1'))
    for stage, (total, units) in enumerate(((240, 4), (480, 8), (960, 4)), 1):
        for unit in range(units):
            name, groups = f'layer{stage}.{unit}', 1 if x.shape[1] == 24 else 3
            own = total - x.shape[1] if unit == 0 else total
            out = F.relu(net.bn(net.conv(x, f'{name}.conv1', own // 4, 1, groups=groups), f'{name}.bn1'))
            out = net.conv(shuffle(out, groups), f'{name}.conv2', own // 4, 3, 2 if unit == 0 else 1, own // 4)
            out = net.conv(F.relu(net.bn(out, f'{name}.bn2')), f'{name}.conv3', own, 1, groups=3)
            out = net.bn(out, f'{name}.bn3')
            x = F.relu(torch.cat([out, F.avg_pool2d(x, 3, 2, 1)], 1) if unit == 0 else out + x)
    return net.linear(x, 'linear')


def shufflenet_v2(net, x):
    x = F.relu(net.bn(net.conv(x, 'conv1', 24, 1), 'bn1'))
    for stage, (total, units) in enumerate(((116, 3), (232, 7), (464, 3)), 1):
        half, name = total // 2, f'layer{stage}.0'
        left = net.bn(net.conv(x, f'{name}.conv1', x.shape[1], 3, 2, x.shape[1]), f'{name}.bn1')
        left = F.relu(net.bn(net.conv(left, f'{name}.conv2', half, 1), f'{name}.bn2'))
        right = F.relu(net.bn(net.conv(x, f'{name}.conv3', half, 1), f'{name}.bn3'))
        right = net.bn(net.conv(right, f'{name}.conv4', half, 3, 2, half), f'{name}.bn4')
        right = F.relu(net.bn(net.conv(right, f'{name}.conv5', half, 1), f'{name}.bn5'))
        x = shuffle(torch.cat([left, right], 1), 2)
        for unit in range(1, units + 1):
            name = f'layer{stage}.{unit}'
            out = F.relu(net.bn(net.conv(x[:, half:], f'{name}.conv1', half, 1), f'{name}.bn1'))
            out = net.bn(net.conv(out, f'{name}.conv2', half, 3, 1, half), f'{name}.bn2')
            out = F.relu(net.bn(net.conv(out, f'{name}.conv3', half, 1), f'{name}.bn3'))
            x = shuffle(torch.cat([x[:, :half], out], 1), 2)
    return net.linear(F.relu(net.bn(net.conv(x, 'conv2', 1024, 1), 'bn2')), 'linear')


def mobilenet_v1(net, x):
    x = F.relu(net.bn(net.conv(x, 'model.0.0', 32, 3, 2), 'model.0.1'))
    for index, (width, stride) in enumerate(
        ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1)), 1
    ):
        x = F.relu(net.bn(net.conv(x, f'model.{index}.0', x.shape[1], 3, stride, x.shape[1]), f'model.{index}.1'))
        x = F.relu(net.bn(net.conv(x, f'model.{index}.3', width, 1), f'model.{index}.4'))
    return net.linear(x, 'fc')


PLAIN, X4 = (16, 16, 32, 64), (32, 64, 128, 256)


@pytest.mark.parametrize(
    ('name', 'published'),
    [
        ('resnet8', resnet(8, PLAIN)),
        ('resnet20', resnet(20, PLAIN)),
        ('resnet56', resnet(56, PLAIN)),
        ('resnet110', resnet(110, PLAIN)),
        ('resnet8x4', resnet(8, X4)),
        ('resnet32x4', resnet(32, X4)),
        ('wrn_16_2', wrn(16, 2)),
        ('wrn_40_1', wrn(40, 1)),
        ('wrn_40_2', wrn(40, 2)),
        ('vgg8', vgg(1)),
        ('vgg13', vgg(2)),
        ('resnet50_cifar', resnet50),
        ('mobilenet_v2_half', mobilenet_v2_half),
        ('shufflenet_v1', shufflenet_v1),
        ('shufflenet_v2', shufflenet_v2),
        ('mobilenet_v1', mobilenet_v1),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_published_checkpoints_load_and_give_the_published_logits(name, published, tmp_path):
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    net = Published()
    expected = published(net, images)
    torch.save({'model': net.weights}, tmp_path / 'ckpt_epoch_240.pth')
    network = build_network(f'crld_zoo::{name}', num_classes=CLASSES, checkpoint=tmp_path / 'ckpt_epoch_240.pth')
    logits = network.eval().double()(images)
    assert expected.std() > 1e-3, 'constant logits would prove nothing'
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)


MEAN, STD = [129.285, 124.0575, 112.4295], [68.1615, 65.382, 70.4055]


def real_teacher(shared, depth):
    teacher = Teacher(
        f'crld_zoo::resnet{depth}',
        f'{shared}/data/checkpoints/cifar100_resnet{depth}.pth',
        num_classes=100,
        mean=MEAN,
        std=STD,
    )
    teacher.match_input(None, None)
    return teacher


def top1(teacher, shared, pack):
    sys.path.insert(0, str(shared / 'data'))
    try:
        from kdpack import load_mosaic
    finally:
        sys.path.pop(0)
    data = load_mosaic(str(shared / 'data' / pack))
    images, labels = torch.from_numpy(data['x_test']).permute(0, 3, 1, 2), torch.from_numpy(data['y_test'])
    predicted = [teacher(batch.float()).argmax(1) for batch in images.split(500)]
    return 100.0 * (torch.cat(predicted) == labels).double().mean().item()


@pytest.mark.data
@pytest.mark.parametrize(('depth', 'expected'), [(20, 69.9), (32, 69.5), (44, 72.6), (56, 74.1)])
def test_real_checkpoints_on_a_thousand_real_images(shared, depth, expected):
    assert top1(real_teacher(shared, depth), shared, 'cifar100_test1000.zip') == pytest.approx(expected, abs=0.01)


@pytest.mark.data
@pytest.mark.slow
def test_real_resnet56_on_the_whole_real_test_set(shared):
    teacher = real_teacher(shared, 56)
    assert top1(teacher, shared, 'cifar100_lossless_part0.zip') == pytest.approx(72.63, abs=0.01)
