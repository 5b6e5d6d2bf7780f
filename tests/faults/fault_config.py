"""A short run with all that a resume must put back: views, EMA, schedules, snapshots, the best checkpoint."""

_base_ = ['../../configs/_base_/datasets/digits.py', '../../configs/_base_/default_runtime.py']

custom_imports = dict(imports=['fault_hooks'])
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet8', num_classes=10),
    teacher=dict(model='crld_zoo::resnet20', num_classes=10, checkpoint='random'),
    distiller=dict(type='CRLD', distiller=dict(type='DKD'), tau_w=0.0, tau_s=0.0),  # the teacher is random: keep all
    data_preprocessor={{_base_.data_preprocessor}},
)
train_dataloader = dict(batch_size=32, dataset=dict(labels_per_class=23))  # eight batches, the last one of six images
val_dataloader = dict(batch_size=77)  # two processes have 250 images each, the last batch of 19
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=10),
    dict(type='MultiStepLR', milestones=[1, 2]),
]
default_hooks = dict(checkpoint=dict(snapshot_interval=3), logger=dict(interval=5))
custom_hooks = [dict(type='EMAHook', momentum=0.01), dict(type='ReportProgress')]
