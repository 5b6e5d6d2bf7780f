"""The model of every run: a student, a frozen teacher, a distiller."""

from .cache import TeacherCache
from .distillation import Distillation
from .ema_teacher import EMATeacher
from .ensemble import TeacherEnsemble
from .graph import LossGraphs
from .teacher import Teacher

__all__ = ['Distillation', 'EMATeacher', 'LossGraphs', 'Teacher', 'TeacherCache', 'TeacherEnsemble']
