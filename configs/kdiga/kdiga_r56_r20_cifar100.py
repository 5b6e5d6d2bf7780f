"""KDIGA, ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 2110.12072; no code is public.
Deviation: lambda and the schedule are ours; the paper teaches with an adversarially trained teacher.
Published top-1: none recorded here.

python tools/train.py configs/kdiga/kdiga_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/kdiga.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
