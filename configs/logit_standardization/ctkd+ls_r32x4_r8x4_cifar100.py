"""KD with a learned temperature (CTKD) on standardized logits, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2403.01427 and sunshangquan/logit-standardization-KD.
Deviation: none known.
Published top-1: 76.67 (best epoch on the test set).

python tools/train.py configs/logit_standardization/ctkd+ls_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/ctkd+ls.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
