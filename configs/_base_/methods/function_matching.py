"""Function matching: the teacher's probabilities alone, at temperature 1 (Beyer et al., CVPR 2022)."""

distiller = dict(type='KD', temperature=1.0, ce_weight=0.0, kd_weight=1.0)
