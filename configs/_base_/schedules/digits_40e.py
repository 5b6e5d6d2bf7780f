"""40 epochs of SGD with a falling learning rate, for students that see 50 digits in batches of 10."""

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=40, val_interval=4)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True))
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True, eta_min=0)
auto_scale_lr = dict(base_batch_size=10)
