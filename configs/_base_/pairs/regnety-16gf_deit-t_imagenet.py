"""RegNetY-16GF -> DeiT-Tiny with a distillation token on ImageNet. The teacher has DeiT's weights, from timm."""

pair = 'regnety-16gf_deit-t_imagenet'
model = dict(
    type='Distillation',
    student=dict(
        type='TimmClassifier', model_name='deit_tiny_distilled_patch16_224', num_classes=1000, drop_path_rate=0.1
    ),
    teacher=dict(model='timm::regnety_160.deit_in1k', expected_top1=82.9),
)
