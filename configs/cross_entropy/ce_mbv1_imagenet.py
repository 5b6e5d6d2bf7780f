"""MobileNetV1 on ImageNet, labels alone.

Source: the student of arXiv 2203.08679 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: 68.87 (as the papers give it).

python tools/train.py configs/cross_entropy/ce_mbv1_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/methods/cross_entropy.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::mobilenet_v1', num_classes=1000),
    distiller=_base_.distiller,
)
