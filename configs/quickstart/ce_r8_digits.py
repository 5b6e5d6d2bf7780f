"""The baseline of the quickstart: ResNet8 on five labeled digits of each class, no teacher.

python tools/train.py configs/quickstart/ce_r8_digits.py
"""

_base_ = [
    '../_base_/pairs/r20_r8_digits.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits_40e.py',
    '../_base_/default_runtime.py',
]

model = dict(teacher=None, distiller=dict(type='CrossEntropy'))
train_dataloader = dict(batch_size=10, dataset=dict(labels_per_class=5))
default_hooks = dict(checkpoint=dict(interval=10))
