"""NormKD + DKD (Chi et al., arXiv 2308.00520); alpha and beta go by the pair."""

distiller = dict(type='NormKD', distiller=dict(type='DKD'))
