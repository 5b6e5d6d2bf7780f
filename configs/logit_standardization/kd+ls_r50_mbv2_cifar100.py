"""KD on standardized logits, ResNet50 -> MobileNetV2 on CIFAR-100.

Source: arXiv 2403.01427 and sunshangquan/logit-standardization-KD.
Deviation: the name of the published log of this pair says temperature 3 and weight 1; these are the 2 and 9 of its
README.
Published top-1: 69.02 (best epoch on the test set).

python tools/train.py configs/logit_standardization/kd+ls_r50_mbv2_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r50_mbv2_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e_lr0.01.py',
    '../_base_/methods/kd+ls.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
