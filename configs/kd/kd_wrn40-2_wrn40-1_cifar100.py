"""KD, WRN-40-2 -> WRN-40-1 on CIFAR-100.

Source: arXiv 1503.02531 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: 73.54 (last epoch, HobbitLong/RepDistiller).

python tools/train.py configs/kd/kd_wrn40-2_wrn40-1_cifar100.py
"""

_base_ = [
    '../_base_/pairs/wrn40-2_wrn40-1_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/kd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
