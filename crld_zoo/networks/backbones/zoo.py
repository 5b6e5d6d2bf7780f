"""The networks of the zoo by name, as mmpretrain classifiers.

They serve as the source ``crld_zoo::<name>``, and tell whose weights an unfitting checkpoint holds.
"""

from __future__ import annotations

X4 = (32, 64, 128, 256)

ZOO: dict[str, tuple[dict, int]] = {
    **{f'resnet{depth}': (dict(type='CIFARResNet', depth=depth), 64) for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f'resnet{depth}x4': (dict(type='CIFARResNet', depth=depth, widths=X4), 256) for depth in (8, 32)},
    **{
        f'wrn_{depth}_{k}': (dict(type='WideResNet', depth=depth, widen_factor=k), 64 * k)
        for depth, k in ((16, 1), (16, 2), (40, 1), (40, 2))
    },
    **{f'vgg{depth}': (dict(type='CIFARVGG', depth=depth), 512) for depth in (8, 11, 13, 16, 19)},
    **{
        f'resnet{depth}_cifar': (
            dict(type='ResNet_CIFAR', depth=depth, zero_init_residual=False),
            512 if depth < 50 else 2048,
        )
        for depth in (18, 34, 50)
    },
    'mobilenet_v2_half': (dict(type='CIFARMobileNetV2', width=0.5), 1280),
    'shufflenet_v1': (dict(type='CIFARShuffleNetV1'), 960),
    'shufflenet_v2': (dict(type='CIFARShuffleNetV2'), 1024),
    'mobilenet_v1': (dict(type='MobileNetV1'), 1024),
    **{
        f'resnet{depth}_imagenet': (
            dict(type='ResNet', depth=depth, zero_init_residual=False),
            512 if depth < 50 else 2048,
        )
        for depth in (18, 34, 50, 101, 152)
    },
}
"""By name: the backbone's config and the channels of its last map."""


_NORMAL = dict(type='Normal', layer='Linear', std=0.01)
_NO_BIAS = dict(
    type='Kaiming', layer='Linear', a=5**0.5, mode='fan_in', nonlinearity='leaky_relu', distribution='uniform'
)
_HEADS = {'CIFARVGG': _NORMAL, 'CIFARMobileNetV2': _NORMAL, 'WideResNet': _NO_BIAS}
"""By backbone, how the head starts where it is not as torch has it."""


def classifier_config(name: str, num_classes: int) -> dict:
    """The config of one of them as an ``ImageClassifier``.

    The head starts as the published networks' do: PyTorch's own initialization instead of mmpretrain's, except that
    VGGs and MobileNetV2 begin with weights of N(0, 0.01) and no bias, and wide ResNets with no bias.
    """
    backbone, channels = ZOO[name]
    return dict(
        type='ImageClassifier',
        backbone=dict(backbone),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead', num_classes=num_classes, in_channels=channels, init_cfg=_HEADS.get(backbone['type'])
        ),
    )
