"""DeiT's hard distillation with the hyperparameters of ImageNet (Touvron et al., ICML 2021)."""

distiller = dict(type='DeiT', label_smoothing=0.1)
