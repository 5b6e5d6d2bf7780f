"""RKD, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 1904.05068 and megvii-research/mdistiller.
Deviation: none known; equal samples have a finite gradient.
Published top-1: 71.90 (last epoch, HobbitLong/RepDistiller).

python tools/train.py configs/rkd/rkd_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/rkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
