"""100 epochs of SGD at 0.2 for a batch of 512: ImageNet as mdistiller and CRLD train on it."""

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=1e-4, fused=True))
param_scheduler = dict(type='MultiStepLR', by_epoch=True, milestones=[30, 60, 90], gamma=0.1)
auto_scale_lr = dict(enable=True, base_batch_size=512)  # the same recipe on one GPU and on many
