"""ResNet32x4 on Tiny-ImageNet, labels alone.

Source: the Tiny-ImageNet settings of CRLD, arXiv 2412.16493.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/cross_entropy/ce_r32x4_tiny_imagenet.py
"""

_base_ = [
    '../_base_/datasets/tiny_imagenet.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/cross_entropy.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet32x4', num_classes=200),
    distiller=_base_.distiller,
)
