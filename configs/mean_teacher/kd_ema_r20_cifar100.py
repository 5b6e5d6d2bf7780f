"""Mean teacher, ResNet20 on CIFAR-100 with a tenth of the labels: KD from the student's own average on all images.

Student and teacher see each image in a draw of their own. A quarter of each batch is labeled.
Source: arXiv 1703.01780 and CuriousAI/mean-teacher.
Deviation: network, data and schedule are this zoo's; the consistency is the KL divergence, which theirs has as an
option; it grows linearly over 5 epochs to a weight of 1, which was not tuned; the teacher is in eval mode, theirs not.
Published top-1: none of this network.

python tools/train.py configs/mean_teacher/kd_ema_r20_cifar100.py
"""

_base_ = [
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet20', num_classes=100),
    teacher=dict(type='EMATeacher'),
    distiller=dict(type='KD', temperature=1.0, ce_weight=1.0, kd_weight=1.0, warmup=5, teacher_view='other'),
)
data_preprocessor = dict(views=dict(other=_base_.data_preprocessor.views.weak))
train_dataloader = dict(
    dataset=dict(fraction=0.1, others='unlabeled'),
    batch_sampler=dict(type='LabeledShareBatchSampler', share=0.25),
)
