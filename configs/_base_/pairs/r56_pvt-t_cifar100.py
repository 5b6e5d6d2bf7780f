"""ResNet56 at 32 pixels -> PVT-Tiny at 224 on CIFAR-100. cross_entropy/ce_r56-300e_cifar100.py makes the teacher."""

pair = 'r56_pvt-t_cifar100'
model = dict(
    type='Distillation',
    student=dict(
        type='ImageClassifier',
        backbone=dict(
            type='PCPVT',
            arch=dict(
                embed_dims=[64, 128, 320, 512],
                depths=[2, 2, 2, 2],
                num_heads=[1, 2, 5, 8],
                patch_sizes=[4, 2, 2, 2],
                strides=[4, 2, 2, 2],
                mlp_ratios=[8, 8, 4, 4],
                sr_ratios=[8, 4, 2, 1],
            ),
            qkv_bias=True,
            norm_after_stage=[False, False, False, True],
            drop_path_rate=0.1,
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=100, in_channels=512),
    ),
    teacher=dict(
        model='crld_zoo::resnet56',
        num_classes=100,
        checkpoint='work_dirs/ce_r56-300e_cifar100/epoch_300.pth',
        size=32,
    ),
)
