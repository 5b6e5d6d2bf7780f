"""DeepLabV3-ResNet101 -> LR-ASPP-MobileNetV3 on Pascal VOC. The weights are torchvision's, which are downloaded: all
of the teacher's, the student's backbone."""

pair = 'dl3-r101_lraspp-mbv3_voc'
model = dict(
    type='Distillation',
    student=dict(
        type='TorchvisionSegmenter', model_name='lraspp_mobilenet_v3_large', num_classes=21, weights_backbone='DEFAULT'
    ),
    teacher=dict(model='torchvision::deeplabv3_resnet101.COCO_WITH_VOC_LABELS_V1'),
)
