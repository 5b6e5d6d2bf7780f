"""NormKD, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2308.00520 and gizi1/NormKD.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/normkd/normkd_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/normkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
