"""300 epochs of AdamW at 5e-4 for a batch of 128: transformers on CIFAR-100 (sunshangquan/logit-standardization-KD).

20 epochs of warm-up, then a cosine to 5e-6; theirs counts the cosine from the first epoch.
"""

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.05, fused=True),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={'cls_token': dict(decay_mult=0.0), 'pos_embed': dict(decay_mult=0.0)},
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, end=20),
    dict(type='CosineAnnealingLR', eta_min=5e-6, by_epoch=True, begin=20),
]
auto_scale_lr = dict(base_batch_size=128)
