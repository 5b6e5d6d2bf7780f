"""NST, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 1707.01219 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: 73.30 (last epoch, HobbitLong/RepDistiller).

python tools/train.py configs/nst/nst_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/nst.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
