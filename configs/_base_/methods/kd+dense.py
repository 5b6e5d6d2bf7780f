"""KD of each pixel: at temperature 1, as much of it as of the labels."""

distiller = dict(type='Dense', distiller=dict(type='KD', temperature=1.0, ce_weight=1.0, kd_weight=1.0))
