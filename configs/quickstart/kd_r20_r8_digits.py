"""ResNet20 teaches ResNet8 with KD, five labeled digits of each class.

python tools/train.py configs/quickstart/kd_r20_r8_digits.py
"""

_base_ = [
    '../_base_/pairs/r20_r8_digits.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits_40e.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=dict(type='KD'))
# Few labels leave something to learn from the teacher, which saw all 1,297 training images.
train_dataloader = dict(batch_size=10, dataset=dict(labels_per_class=5))
default_hooks = dict(checkpoint=dict(interval=10))
