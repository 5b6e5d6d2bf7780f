"""ResNet56 at 32 pixels -> T2T-ViT-7 at 224 on CIFAR-100. cross_entropy/ce_r56-300e_cifar100.py makes the teacher."""

pair = 'r56_t2t-7_cifar100'
model = dict(
    type='Distillation',
    student=dict(
        type='ImageClassifier',
        backbone=dict(
            type='T2T_ViT',
            img_size=224,
            embed_dims=256,
            num_layers=7,
            layer_cfgs=dict(num_heads=4, feedforward_channels=512),
            t2t_cfg=dict(token_dims=64, use_performer=False),
            drop_path_rate=0.1,
        ),
        head=dict(type='VisionTransformerClsHead', num_classes=100, in_channels=256),
    ),
    teacher=dict(
        model='crld_zoo::resnet56',
        num_classes=100,
        checkpoint='work_dirs/ce_r56-300e_cifar100/epoch_300.pth',
        size=32,
    ),
)
