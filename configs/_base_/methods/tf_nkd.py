"""Teacher-free NKD (Yang et al., arXiv 2208.10139v1)."""

distiller = dict(type='TfNKD')
