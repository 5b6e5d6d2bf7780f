"""KD, WRN-40-2 -> ResNet8x4 on CIFAR-100.

Source: arXiv 1503.02531 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: 73.97 (as arXiv 2403.01427 gives it).

python tools/train.py configs/kd/kd_wrn40-2_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/wrn40-2_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/kd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
