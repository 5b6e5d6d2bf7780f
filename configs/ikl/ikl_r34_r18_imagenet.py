"""IKL, ResNet34 -> ResNet18 on ImageNet.

Source: arXiv 2305.13948 and jiequancui/DKL.
Deviation: none known.
Published top-1: 71.91 (as the papers give it).

python tools/train.py configs/ikl/ikl_r34_r18_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r34_r18_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/methods/ikl_imagenet.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)

data_preprocessor = dict(image_size=224)  # the class table is made from a probe
