"""NormKD + DKD, ResNet34 -> ResNet18 on ImageNet.

Source: arXiv 2308.00520 and gizi1/NormKD.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/normkd_dkd/normkd_dkd_r34_r18_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r34_r18_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/methods/normkd_dkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.normkd_dkd[_base_.pair])
