"""MLLD with the hyperparameters of ImageNet (Jin et al., CVPR 2023)."""

distiller = dict(type='MLLD', temperature=1.0, ce_weight=0.5, kd_weight=0.5)
