"""KD, WRN-40-2 -> MobileNetV2 on CIFAR-100.

Source: arXiv 1503.02531 and sunshangquan/logit-standardization-KD.
Deviation: none known.
Published top-1: 68.36 (as arXiv 2403.01427 gives it).

python tools/train.py configs/kd/kd_wrn40-2_mbv2_cifar100.py
"""

_base_ = [
    '../_base_/pairs/wrn40-2_mbv2_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e_lr0.01.py',
    '../_base_/methods/kd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
