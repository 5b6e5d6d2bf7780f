"""ReviewKD, ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 2104.09044 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: 71.89 (as the papers give it).

python tools/train.py configs/reviewkd/reviewkd_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/reviewkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.reviewkd[_base_.pair])
