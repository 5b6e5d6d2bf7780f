"""ResNet18 on ImageNet, labels alone.

Source: the student of arXiv 2203.08679 and megvii-research/mdistiller.
Deviation: the published figure is of torchvision's weights, which were trained for 90 epochs.
Published top-1: 69.75 (as the papers give it).

python tools/train.py configs/cross_entropy/ce_r18_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/methods/cross_entropy.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student=dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet', depth=18, zero_init_residual=False),  # as in torchvision
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=1000, in_channels=512),
    ),
    distiller=_base_.distiller,
)
