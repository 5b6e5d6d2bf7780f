"""KD with a learned temperature (CTKD), ResNet34 -> ResNet18 on ImageNet.

Source: arXiv 2211.16231 and zhengli97/CTKD.
Deviation: none known.
Published top-1: 71.32 (as the papers give it).

python tools/train.py configs/ctkd/ctkd_r34_r18_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r34_r18_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/methods/ctkd_imagenet.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
