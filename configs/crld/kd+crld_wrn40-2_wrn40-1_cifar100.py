"""CRLD on KD, WRN-40-2 -> WRN-40-1 on CIFAR-100: plain CRLD.

Source: arXiv 2412.16493.
Deviation: none known.
Published top-1: 75.58 (best epoch on the test set).

python tools/train.py configs/crld/kd+crld_wrn40-2_wrn40-1_cifar100.py
"""

_base_ = '../kd/kd_wrn40-2_wrn40-1_cifar100.py'

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller))
