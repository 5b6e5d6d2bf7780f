"""LogitMSE, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2105.08919 and jhoon-oh/kd_data.
Deviation: the schedule is that of the other recipes of this pair.
Published top-1: none recorded here.

python tools/train.py configs/logit_mse/logit_mse_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/logit_mse.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
