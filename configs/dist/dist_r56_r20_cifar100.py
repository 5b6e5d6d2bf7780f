"""DIST, ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 2205.10536 and hunto/DIST_KD.
Deviation: beta, gamma and tau (2, 2, 4) could not be held against the published config.
Published top-1: 71.75 (mean of several runs, hunto/DIST_KD).

python tools/train.py configs/dist/dist_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/dist.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
