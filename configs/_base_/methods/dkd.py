"""DKD with the hyperparameters of CIFAR-100 (Zhao et al., CVPR 2022); beta goes by the pair."""

distiller = dict(type='DKD')
