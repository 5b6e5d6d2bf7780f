"""KD, ResNet50 -> MobileNetV1 on ImageNet.

Source: arXiv 1503.02531 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: 70.50 (as the papers give it).

python tools/train.py configs/kd/kd_r50_mbv1_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r50_mbv1_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/methods/kd_imagenet.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
