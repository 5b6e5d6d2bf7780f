"""ResNet50 -> MobileNetV1 on ImageNet. The teacher has torchvision's weights, which are downloaded."""

pair = 'r50_mbv1_imagenet'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::mobilenet_v1', num_classes=1000),
    teacher=dict(model='torchvision::resnet50.IMAGENET1K_V1', expected_top1=76.13),
)
