"""200 epochs of SGD at 0.1 for a batch of 128, times 0.2 after 60, 120 and 160: CIFAR-100 in mmpretrain and cls_KD."""

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True))
param_scheduler = dict(type='MultiStepLR', by_epoch=True, milestones=[60, 120, 160], gamma=0.2)
auto_scale_lr = dict(base_batch_size=128)
