"""SSKD's first stage: the projection head of a ResNet56 that is to teach, on CIFAR-100.

Source: arXiv 2006.07114 and xuguodong03/SSKD.
Deviation: the turned images are of the same crop as the plain one, theirs have a crop each.
Published top-1: none; the network stays as it is.

python tools/train.py configs/sskdhead/sskdhead_r56_cifar100.py
"""

_base_ = [
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet56', num_classes=100, checkpoint='work_dirs/ce_r56_cifar100/epoch_240.pth'),
    distiller=dict(type='SSKDHead'),
)
data_preprocessor = dict(views=dict(rotated=dict(of='weak', operations=[dict(type='Rotations')])))
train_cfg = dict(max_epochs=60, val_interval=60)
param_scheduler = dict(milestones=[30, 45])
