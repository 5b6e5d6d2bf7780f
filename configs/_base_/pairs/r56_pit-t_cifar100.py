"""ResNet56 at 32 pixels -> PiT-Tiny at 224 on CIFAR-100. cross_entropy/ce_r56-300e_cifar100.py makes the teacher."""

pair = 'r56_pit-t_cifar100'
model = dict(
    type='Distillation',
    student=dict(type='TimmClassifier', model_name='pit_ti_224', num_classes=100, drop_path_rate=0.1),
    teacher=dict(
        model='crld_zoo::resnet56',
        num_classes=100,
        checkpoint='work_dirs/ce_r56-300e_cifar100/epoch_300.pth',
        size=32,
    ),
)
