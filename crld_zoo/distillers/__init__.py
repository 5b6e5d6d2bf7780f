"""What is learned from the teacher: one method, one file, one pure function, one thin class.

A new method subclasses :class:`PairDistiller` (a loss between one student and one teacher prediction, which every
decorator takes) or :class:`Distiller` (anything else) and registers itself in :data:`crld_zoo.registry.DISTILLERS`.
"""

from .base import Distiller, PairDistiller, Prediction
from .decorators.crld import CRLD
from .decorators.logit_standardization import LogitStandardization
from .logits.cross_entropy import CrossEntropy
from .logits.dkd import DKD, dkd_loss
from .logits.kd import KD, kd_loss
from .logits.mlld import MLLD, mlld_loss
from .logits.nkd import NKD, nkd_loss
from .logits.normkd import NormKD, normkd_loss
from .logits.normkd_dkd import NormKDDKD, normkd_dkd_loss
from .logits.tf_nkd import TfNKD, tf_nkd_loss

__all__ = [
    'CRLD',
    'CrossEntropy',
    'DKD',
    'Distiller',
    'KD',
    'LogitStandardization',
    'MLLD',
    'NKD',
    'NormKD',
    'NormKDDKD',
    'PairDistiller',
    'Prediction',
    'TfNKD',
    'dkd_loss',
    'kd_loss',
    'mlld_loss',
    'nkd_loss',
    'normkd_dkd_loss',
    'normkd_loss',
    'tf_nkd_loss',
]
