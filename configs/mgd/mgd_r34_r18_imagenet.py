"""MGD, ResNet34 -> ResNet18 on ImageNet.

Source: arXiv 2205.01529 and yzd-v/cls_KD.
Deviation: none known.
Published top-1: 71.69 (as the papers give it).

python tools/train.py configs/mgd/mgd_r34_r18_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r34_r18_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e_bs256.py',
    '../_base_/methods/mgd_imagenet.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
data_preprocessor = dict(image_size=224)  # of the probe that the taps are found with
