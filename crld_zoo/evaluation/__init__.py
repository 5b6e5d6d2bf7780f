"""What is measured: accuracy, calibration, agreement with the teacher.

The functions take logits and labels, the metrics take predictions as mmpretrain's do; see
:class:`~crld_zoo.evaluation.per_sample.PerSampleMetric`.
"""

from .accuracy import Accuracy, PerClassAccuracy
from .calibration import CalibrationError, NegativeLogLikelihood
from .functional import (
    agreement,
    calibration_bins,
    class_similarity,
    expected_calibration_error,
    mean_kl,
    measure,
    negative_log_likelihood,
    per_class_accuracy,
    topk_accuracy,
)
from .mean_iou import MeanIoU
from .per_sample import PerSampleMetric
from .predictions import BatchPrediction, Sample, scores_and_labels

__all__ = [
    'Accuracy',
    'BatchPrediction',
    'CalibrationError',
    'MeanIoU',
    'NegativeLogLikelihood',
    'PerClassAccuracy',
    'PerSampleMetric',
    'Sample',
    'agreement',
    'calibration_bins',
    'class_similarity',
    'expected_calibration_error',
    'mean_kl',
    'measure',
    'negative_log_likelihood',
    'per_class_accuracy',
    'scores_and_labels',
    'topk_accuracy',
]
