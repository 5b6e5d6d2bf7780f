"""NKD, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2208.10139 and yzd-v/cls_KD.
Deviation: the published code has no recipe for this pair; this is the schedule of the other methods.
Published top-1: none recorded here.

python tools/train.py configs/nkd/nkd_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/nkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
