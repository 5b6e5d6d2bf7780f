"""WRN-40-2 -> ShuffleNetV1 on CIFAR-100. The teacher is made by cross_entropy/ce_wrn40-2_cifar100.py."""

pair = 'wrn40-2_shuv1_cifar100'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::shufflenet_v1', num_classes=100),
    teacher=dict(
        model='crld_zoo::wrn_40_2',
        num_classes=100,
        checkpoint='work_dirs/ce_wrn40-2_cifar100/epoch_240.pth',
        expected_top1=75.61,
    ),
)
