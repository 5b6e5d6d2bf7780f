"""KD on standardized logits, ResNet32x4 -> ShuffleNetV2 on CIFAR-100.

Source: arXiv 2403.01427 and sunshangquan/logit-standardization-KD.
Deviation: none known.
Published top-1: 75.56 (best epoch on the test set).

python tools/train.py configs/logit_standardization/kd+ls_r32x4_shuv2_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_shuv2_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e_lr0.01.py',
    '../_base_/methods/kd+ls.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
