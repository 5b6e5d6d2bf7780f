"""RLD, ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 2408.07703 and zju-SWJ/RLD.
Deviation: beta is that of the published defaults for every pair.
Published top-1: none recorded here.

python tools/train.py configs/rld/rld_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/rld.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
