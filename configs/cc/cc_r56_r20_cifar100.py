"""CC, ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 1904.01802 and HobbitLong/RepDistiller.
Deviation: none known.
Published top-1: 69.63 (last epoch, HobbitLong/RepDistiller).

python tools/train.py configs/cc/cc_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/cc.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
