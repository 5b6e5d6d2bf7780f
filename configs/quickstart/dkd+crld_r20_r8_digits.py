"""ResNet20 teaches ResNet8 with DKD decorated by CRLD, on few labels and many images.

python tools/train.py configs/quickstart/dkd+crld_r20_r8_digits.py
"""

_base_ = ['kd_r20_r8_digits.py']

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=dict(type='DKD')))
