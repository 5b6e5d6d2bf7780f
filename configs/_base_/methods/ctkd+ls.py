"""KD with a learned temperature on standardized logits (Sun et al., CVPR 2024): the same for all pairs of CIFAR-100."""

distiller = dict(
    type='LogitStandardization',
    distiller=dict(type='CTKD', distiller=dict(type='KD', kd_weight=9.0)),
)
