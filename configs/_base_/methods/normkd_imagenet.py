"""NormKD with the hyperparameters of ImageNet (Chi et al., arXiv 2308.00520)."""

distiller = dict(type='NormKD', temperature_norm=1.0, distiller=dict(type='KD', ce_weight=0.5, kd_weight=0.5))
