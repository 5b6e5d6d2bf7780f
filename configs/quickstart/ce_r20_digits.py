"""The teacher of the quickstart: ResNet20 on all 1,297 training digits.

python tools/train.py configs/quickstart/ce_r20_digits.py
"""

_base_ = ['../_base_/datasets/digits.py', '../_base_/schedules/digits_15e.py', '../_base_/default_runtime.py']

model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet20', num_classes=10),
    distiller=dict(type='CrossEntropy'),
)
