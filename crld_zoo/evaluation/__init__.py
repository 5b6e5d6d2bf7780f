"""What is measured: accuracy, calibration, agreement with the teacher.

The metrics take mmpretrain's predictions and the zoo's batch records alike, see
:class:`~crld_zoo.evaluation.per_sample.PerSampleMetric`.
"""

from .accuracy import Accuracy
from .agreement import agreement
from .calibration import CalibrationError, expected_calibration_error
from .per_sample import PerSampleMetric

__all__ = ['Accuracy', 'CalibrationError', 'PerSampleMetric', 'agreement', 'expected_calibration_error']
