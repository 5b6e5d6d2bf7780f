"""Teacher-free NKD, MobileNetV1 on ImageNet.

Source: arXiv 2208.10139v1 and yzd-v/cls_KD.
Deviation: none known.
Published top-1: 70.04 (as the paper gives it).

python tools/train.py configs/tf_nkd/tf_nkd_mbv1_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e_bs256.py',
    '../_base_/methods/tf_nkd.py',
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
