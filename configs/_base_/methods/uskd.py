"""USKD with the hyperparameters of ImageNet (Yang et al., ICCV 2023)."""

distiller = dict(type='USKD')
