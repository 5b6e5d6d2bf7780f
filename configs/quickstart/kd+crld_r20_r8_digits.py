"""ResNet20 teaches ResNet8 with KD decorated by CRLD, on few labels and many images.

python tools/train.py configs/quickstart/kd+crld_r20_r8_digits.py
"""

_base_ = ['kd_r20_r8_digits.py']

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=dict(type='KD')))
