"""RLD, ResNet34 -> ResNet18 on ImageNet.

Source: arXiv 2408.07703 and zju-SWJ/RLD (configs/imagenet/r34_r18/rld.yaml).
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/rld/rld_r34_r18_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r34_r18_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/methods/rld_imagenet.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
