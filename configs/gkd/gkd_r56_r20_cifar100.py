"""GKD, ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 2304.04462 and WisonZ/GKD.
Deviation: published for faces; ten primary classes of a hundred are our choice.
Published top-1: none recorded here.

python tools/train.py configs/gkd/gkd_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/gkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
