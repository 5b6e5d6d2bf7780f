"""NKD (Yang et al., ICCV 2023, arXiv 2208.10139)."""

distiller = dict(type='NKD')
