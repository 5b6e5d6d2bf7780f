"""KD with the hyperparameters of ImageNet (Hinton et al., 2015; mdistiller)."""

distiller = dict(type='KD', temperature=1.0, ce_weight=0.5, kd_weight=0.5)
