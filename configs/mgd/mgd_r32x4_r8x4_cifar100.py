"""MGD, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2205.01529 and yzd-v/cls_KD.
Deviation: the weight is the public one of ResNet34 -> ResNet18 on CIFAR-100; there is none for this pair.
Published top-1: none recorded here.

python tools/train.py configs/mgd/mgd_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/mgd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
