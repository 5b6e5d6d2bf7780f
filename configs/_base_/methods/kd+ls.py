"""KD on standardized logits (Sun et al., CVPR 2024)."""

distiller = dict(
    type='LogitStandardization',
    distiller=dict(type='KD', temperature=2.0, kd_weight=9.0),
)
