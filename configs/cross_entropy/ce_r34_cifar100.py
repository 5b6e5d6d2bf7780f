"""ResNet34 on CIFAR-100, labels alone.

Source: arXiv 2208.10139 and yzd-v/cls_KD (configs/resnet/resnet34_8xb16_cifar100.py).
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/cross_entropy/ce_r34_cifar100.py
"""

_base_ = [
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_200e_bs128.py',
    '../_base_/methods/cross_entropy.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet34_cifar', num_classes=100),
    distiller=_base_.distiller,
)
train_dataloader = dict(batch_size=128)
