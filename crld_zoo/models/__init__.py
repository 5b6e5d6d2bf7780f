"""The model of every run: a student, a frozen teacher, a distiller."""

from .cache import TeacherCache
from .distillation import Distillation
from .ensemble import TeacherEnsemble
from .graph import LossGraphs
from .teacher import Teacher

__all__ = ['Distillation', 'LossGraphs', 'Teacher', 'TeacherCache', 'TeacherEnsemble']
