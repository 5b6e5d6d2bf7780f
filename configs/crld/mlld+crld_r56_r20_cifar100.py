"""CRLD on MLLD, ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 2412.16493 on the MLLD of CVPR 2023.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/crld/mlld+crld_r56_r20_cifar100.py
"""

_base_ = '../mlld/mlld_r56_r20_cifar100.py'

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller))
