"""KD, ResNet32x4 -> WRN-16-2 on CIFAR-100.

Source: arXiv 1503.02531 and sunshangquan/logit-standardization-KD.
Deviation: none known.
Published top-1: 74.90 (as arXiv 2403.01427 gives it).

python tools/train.py configs/kd/kd_r32x4_wrn16-2_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_wrn16-2_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/kd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
