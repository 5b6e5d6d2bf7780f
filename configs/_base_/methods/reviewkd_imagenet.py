"""ReviewKD with the hyperparameters of ImageNet."""

distiller = dict(
    type='ReviewKD',
    taps=('stage1:pre', 'stage2:pre', 'stage3:pre', 'stage4:pre', 'embedding'),
    teacher_taps=('stage1:pre', 'stage2:pre', 'stage3:pre', 'stage4:pre', 'embedding'),
    warmup=1,
)
