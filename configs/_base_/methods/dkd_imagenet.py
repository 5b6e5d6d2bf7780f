"""DKD with the hyperparameters of ImageNet (Zhao et al., CVPR 2022); beta goes by the pair."""

distiller = dict(type='DKD', temperature=1.0, warmup=1)
