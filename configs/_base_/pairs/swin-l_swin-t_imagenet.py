"""Swin-L -> Swin-T on ImageNet. The teacher has mmpretrain's weights, which are downloaded."""

pair = 'swin-l_swin-t_imagenet'
model = dict(
    type='Distillation',
    student='swin-tiny_16xb64_in1k',
    teacher=dict(model='swin-large_in21k-pre-3rdparty_in1k', expected_top1=86.24),
)
