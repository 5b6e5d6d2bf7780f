"""ResNet20 teaches ResNet8 with KD: five labeled digits of each class, and 1,247 more without their label.

The teacher saw all labels. Epochs and learning rate were chosen on the split 'val' of the training images.

python tools/train.py configs/quickstart/kd_r20_r8_digits.py
"""

_base_ = [
    '../_base_/pairs/r20_r8_digits.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits_10e.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=dict(type='KD'))
train_dataloader = dict(
    dataset=dict(labels_per_class=5, others='unlabeled'),
    batch_sampler=dict(type='LabeledShareBatchSampler', share=0.2),
)
default_hooks = dict(checkpoint=dict(interval=10))
