"""KD on standardized logits, WRN-40-2 -> WRN-40-1 on CIFAR-100.

Source: arXiv 2403.01427 and sunshangquan/logit-standardization-KD.
Deviation: none known.
Published top-1: 74.37 (best epoch on the test set).

python tools/train.py configs/logit_standardization/kd+ls_wrn40-2_wrn40-1_cifar100.py
"""

_base_ = [
    '../_base_/pairs/wrn40-2_wrn40-1_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/kd+ls.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
