"""300 epochs of SGD with Nesterov momentum, a cosine from 0.1 to 0 for a batch of 128: CNNs that teach transformers."""

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True))
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=True, eta_min=0)
auto_scale_lr = dict(base_batch_size=128)
