"""CRLD on KD, VGG13 -> VGG8 on CIFAR-100: plain CRLD.

Source: arXiv 2412.16493.
Deviation: none known.
Published top-1: 75.27 (best epoch on the test set).

python tools/train.py configs/crld/kd+crld_vgg13_vgg8_cifar100.py
"""

_base_ = '../kd/kd_vgg13_vgg8_cifar100.py'

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller))
