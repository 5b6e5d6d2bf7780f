"""ViT-L/16 at 384 pixels -> ResNet18 at 64 pixels on Tiny-ImageNet.

The teacher was fine-tuned by Huynh (arXiv 2205.10660); 1.2 GB are downloaded, and timm is needed. Its classes stand in
the order in which its author's file system listed their folders: where the teacher's accuracy turns out far below what
is expected, give the order as ``teacher.classes``.
"""

pair = 'vitl16-384_r18_tiny_imagenet'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet18_cifar', num_classes=200),
    teacher=dict(
        model='timm::vit_large_patch16_384',
        num_classes=200,
        checkpoint='https://github.com/ehuynh1106/TinyImageNet-Transformers/releases/download/weights/vit_large_384.pth',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        expected_top1=86.43,
    ),
)
