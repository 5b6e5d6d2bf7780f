"""The model of every run, the networks in it, and where they come from."""

from . import backbones  # noqa: F401  registers them
from .distillation import Distillation
from .ensemble import TeacherEnsemble
from .preprocessor import ViewPreprocessor
from .teacher import Teacher

__all__ = ['Distillation', 'Teacher', 'TeacherEnsemble', 'ViewPreprocessor']
