"""ResNet32 on CIFAR-100, labels alone.

Source: arXiv 1910.10699 and HobbitLong/RepDistiller.
Deviation: none known.
Published top-1: 71.14 (as HobbitLong/RepDistiller gives it).

python tools/train.py configs/cross_entropy/ce_r32_cifar100.py
"""

_base_ = [
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/cross_entropy.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet32', num_classes=100),
    distiller=_base_.distiller,
)
