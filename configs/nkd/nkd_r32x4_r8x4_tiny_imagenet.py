"""NKD, ResNet32x4 -> ResNet8x4 on Tiny-ImageNet.

Source: the Tiny-ImageNet settings of CRLD, arXiv 2412.16493, for NKD, arXiv 2208.10139.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/nkd/nkd_r32x4_r8x4_tiny_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_tiny_imagenet.py',
    '../_base_/datasets/tiny_imagenet.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/nkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
