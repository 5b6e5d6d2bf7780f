"""BiT-ResNet152x2 -> BiT-ResNet50 on ImageNet. The teacher has timm's weights, which are downloaded."""

pair = 'bit-r152x2_bit-r50_imagenet'
model = dict(
    type='Distillation',
    student=dict(model='timm::resnetv2_50x1_bit', num_classes=1000),
    teacher=dict(model='timm::resnetv2_152x2_bit.goog_teacher_in21k_ft_in1k', expected_top1=83.0),
)
