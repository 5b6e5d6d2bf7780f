"""NKD, ResNet34 -> ResNet18 on CIFAR-100.

Source: arXiv 2208.10139 and yzd-v/cls_KD (configs/distillers/cifar100/res34_distill_res18_cifar.py).
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/nkd/nkd_r34_r18_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r34_r18_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_200e_bs128.py',
    '../_base_/methods/nkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=dict(_base_.distiller, gamma=3.5, temperature=3.0))
train_dataloader = dict(batch_size=128)
