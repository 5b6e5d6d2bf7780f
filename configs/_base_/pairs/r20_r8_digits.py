"""ResNet20 teaches ResNet8 to read digits. The teacher is trained first: quickstart/ce_r20_digits.py."""

pair = 'r20_r8_digits'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet8', num_classes=10),
    teacher=dict(model='crld_zoo::resnet20', num_classes=10, checkpoint='work_dirs/ce_r20_digits/epoch_15.pth'),
)
