"""KD on standardized logits, VGG13 -> VGG8 on CIFAR-100.

Source: arXiv 2403.01427 and sunshangquan/logit-standardization-KD.
Deviation: the name of the published log of this pair says temperature 3 and weight 9; these are the 2 and 9 of its
README.
Published top-1: 74.36 (best epoch on the test set).

python tools/train.py configs/logit_standardization/kd+ls_vgg13_vgg8_cifar100.py
"""

_base_ = [
    '../_base_/pairs/vgg13_vgg8_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/kd+ls.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
