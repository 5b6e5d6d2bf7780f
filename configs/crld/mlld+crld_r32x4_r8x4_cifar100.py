"""CRLD on MLLD, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2412.16493 on the MLLD of CVPR 2023.
Deviation: starts from a learning rate of 0.01, for the reason that mlld+crld_r56_r20_cifar100 gives.
Published top-1: none recorded here.

python tools/train.py configs/crld/mlld+crld_r32x4_r8x4_cifar100.py
"""

_base_ = '../mlld/mlld_r32x4_r8x4_cifar100.py'

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller))
optim_wrapper = dict(optimizer=dict(lr=0.01))
