"""The baseline of the quickstart: ResNet8 on five labeled digits of each class, no teacher.

python tools/train.py configs/quickstart/ce_r8_digits.py
"""

_base_ = ['kd_r20_r8_digits.py']

model = dict(teacher=None, distiller=dict(_delete_=True, type='CrossEntropy'))
