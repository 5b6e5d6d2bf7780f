"""CRLD on KD, ResNet110 -> ResNet32 on CIFAR-100: plain CRLD.

Source: arXiv 2412.16493.
Deviation: none known.
Published top-1: 74.42 (best epoch on the test set).

python tools/train.py configs/crld/kd+crld_r110_r32_cifar100.py
"""

_base_ = '../kd/kd_r110_r32_cifar100.py'

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller))
