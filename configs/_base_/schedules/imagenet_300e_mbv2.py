"""300 epochs of SGD from 0.045, times 0.98 each: mmpretrain's for MobileNetV2 (``imagenet_bs256_epochstep.py``)."""

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.045, momentum=0.9, weight_decay=4e-5, fused=True))
param_scheduler = dict(type='StepLR', by_epoch=True, step_size=1, gamma=0.98)
auto_scale_lr = dict(enable=True, base_batch_size=256)
