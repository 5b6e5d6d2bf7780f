"""WSLD, ResNet34 -> ResNet18 on ImageNet.

Source: arXiv 2102.00650 and bellymonster/Weighted-Soft-Label-Distillation.
Deviation: none known.
Published top-1: 72.04 (as the papers give it).

python tools/train.py configs/wsld/wsld_r34_r18_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r34_r18_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/methods/wsld_imagenet.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
