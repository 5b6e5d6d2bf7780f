"""USKD, MobileNetV1 on ImageNet.

Source: arXiv 2303.13005 and yzd-v/cls_KD.
Deviation: none known.
Published top-1: 70.38 (as the paper gives it).

python tools/train.py configs/uskd/uskd_mbv1_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e_bs256.py',
    '../_base_/methods/uskd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student=dict(
        type='ImageClassifier',
        backbone=dict(
            type='MobileNetV1',  # Kaiming's initialization, as in their code
            init_cfg=[dict(type='Kaiming', layer='Conv2d'), dict(type='Constant', val=1, layer='BatchNorm2d')],
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=1000, in_channels=1024),
    ),
    distiller=_base_.distiller,
)
data_preprocessor = dict(image_size=224)  # of the probe that the weak head is made from
