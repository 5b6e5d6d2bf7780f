"""DIST, ResNet34 -> ResNet18 on ImageNet.

Source: arXiv 2205.10536 and hunto/image_classification_sota.
Deviation: none known.
Published top-1: 72.07 (as the papers give it).

python tools/train.py configs/dist/dist_r34_r18_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r34_r18_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/methods/dist_imagenet.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
