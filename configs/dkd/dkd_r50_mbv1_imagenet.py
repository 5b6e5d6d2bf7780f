"""DKD, ResNet50 -> MobileNetV1 on ImageNet.

Source: arXiv 2203.08679 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: 72.05 (as the papers give it).

python tools/train.py configs/dkd/dkd_r50_mbv1_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r50_mbv1_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/methods/dkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.dkd[_base_.pair])
