"""CRLD on KD, ResNet56 -> ResNet20 on CIFAR-100: plain CRLD.

Source: arXiv 2412.16493.
Deviation: none known.
Published top-1: 72.10 (best epoch on the test set).

python tools/train.py configs/crld/kd+crld_r56_r20_cifar100.py
"""

_base_ = '../kd/kd_r56_r20_cifar100.py'

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller))
