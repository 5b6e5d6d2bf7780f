"""ReviewKD, ResNet34 -> ResNet18 on ImageNet.

Source: arXiv 2104.09044 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/reviewkd/reviewkd_r34_r18_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r34_r18_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e_bs256.py',
    '../_base_/methods/reviewkd_imagenet.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
data_preprocessor = dict(image_size=224)  # of the probe that the taps are found with
