"""60 epochs of SGD at 0.01 for a batch of 16, falling with the power of 0.9: a usual schedule of segmentation."""

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=60, val_interval=5)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True))
param_scheduler = dict(type='PolyLR', power=0.9, by_epoch=True, convert_to_iter_based=True)
auto_scale_lr = dict(base_batch_size=16)
