"""DIST, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2205.10536 and hunto/DIST_KD.
Deviation: beta, gamma and tau (2, 2, 4) could not be held against the published config.
Published top-1: 76.31 (mean of several runs, hunto/DIST_KD).

python tools/train.py configs/dist/dist_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/dist.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
