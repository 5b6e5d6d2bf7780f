"""1,200 epochs of AdamW at 0.03 for a batch of 4,096, as big_vision distills BiT (``proj/distill/bit_i1k.py``).

Their weight decay of 3e-4 a step is not multiplied by the learning rate: torch's, which is, has 3e-4 / 0.03. Their
warm-up of 5,000 steps is 16 epochs.
"""

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1200, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=0.03, weight_decay=0.01, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, end=16, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=16, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=True, base_batch_size=4096)
