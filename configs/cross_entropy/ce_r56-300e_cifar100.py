"""ResNet56 on CIFAR-100 as it teaches transformers, labels alone: 300 epochs, strong augmentation, at 32 pixels.

Source: arXiv 2403.01427 and sunshangquan/logit-standardization-KD (tiny-transformers/configs/resnet/r-56_c100.yaml).
Deviation: RandAugment's color and contrast weigh red and blue the other way round.
Published top-1: none recorded here.

python tools/train.py configs/cross_entropy/ce_r56-300e_cifar100.py
"""

_base_ = [
    '../_base_/datasets/cifar100_224.py',
    '../_base_/schedules/cifar_300e.py',
    '../_base_/methods/cross_entropy.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet56', num_classes=100),
    distiller=_base_.distiller,
)
crop = dict(type='RandomResizedCrop', scale=32, backend='pillow', interpolation='bicubic')
train_dataloader = dict(dataset=dict(pipeline=[crop, *_base_.augmentation]))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline[1:]))
test_dataloader = val_dataloader
