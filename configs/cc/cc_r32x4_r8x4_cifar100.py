"""CC, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 1904.01802 and HobbitLong/RepDistiller.
Deviation: none known.
Published top-1: 72.97 (last epoch, HobbitLong/RepDistiller).

python tools/train.py configs/cc/cc_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/cc.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
