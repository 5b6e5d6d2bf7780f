"""CRLD on MLLD, ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 2412.16493 on the MLLD of CVPR 2023.
Deviation: starts from a learning rate of 0.01. CRLD doubles what MLLD sums over five temperatures: after one epoch on
10,000 images top-1 was 1.58 % from 0.05 (untrained: 1.56 %) and 4.18 % from 0.01.
Published top-1: none recorded here.

python tools/train.py configs/crld/mlld+crld_r56_r20_cifar100.py
"""

_base_ = '../mlld/mlld_r56_r20_cifar100.py'

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller))
optim_wrapper = dict(optimizer=dict(lr=0.01))
