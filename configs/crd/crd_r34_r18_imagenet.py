"""CRD, ResNet34 -> ResNet18 on ImageNet.

Source: arXiv 1910.10699 and megvii-research/mdistiller.
Deviation: the negatives are a function of the sample and the step; what is remembered is embedded after the step.
Published top-1: none recorded here.

python tools/train.py configs/crd/crd_r34_r18_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r34_r18_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e_bs256.py',
    '../_base_/methods/crd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
data_preprocessor = dict(image_size=224)  # of the probe that the embeddings' widths are found with
