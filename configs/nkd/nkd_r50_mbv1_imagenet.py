"""NKD, ResNet50 -> MobileNetV1 on ImageNet.

Source: arXiv 2208.10139 and yzd-v/cls_KD.
Deviation: none known.
Published top-1: 72.58 (as the paper gives it).

python tools/train.py configs/nkd/nkd_r50_mbv1_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r50_mbv1_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e_bs256.py',
    '../_base_/methods/nkd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    student=dict(
        _delete_=True,
        type='ImageClassifier',
        backbone=dict(
            type='MobileNetV1',  # Kaiming's initialization, as in their code
            init_cfg=[dict(type='Kaiming', layer='Conv2d'), dict(type='Constant', val=1, layer='BatchNorm2d')],
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=1000, in_channels=1024),
    ),
    teacher=dict(model='resnet50_8xb32_in1k', expected_top1=76.55),
    distiller=_base_.distiller,
)
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
