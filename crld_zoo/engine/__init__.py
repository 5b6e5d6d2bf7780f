"""Training that loses nothing: checkpoints, exact resume, preemption, divergence."""

from .amp import Bf16OptimWrapper
from .checkpoint_hook import CheckpointHook
from .checkpoints import check_fits, find_resume_checkpoint
from .data_check import DataCheckHook
from .distiller import DistillerHook
from .divergence import DivergenceError, DivergenceHook
from .ema import EMAHook
from .grouped import GroupedOptimWrapper
from .loops import EpochBasedTrainLoop, IterBasedTrainLoop
from .preemption import PREEMPTED, PreemptionHook, stopping_in_order
from .randomness import SeededBatchSampler, SeededDataset
from .runtime_info import RuntimeInfoHook
from .teacher_cache import TeacherCacheHook
from .teacher_check import TeacherAccuracyHook
from .throughput import ThroughputHook

__all__ = [
    'Bf16OptimWrapper',
    'CheckpointHook',
    'DataCheckHook',
    'DistillerHook',
    'DivergenceError',
    'DivergenceHook',
    'EMAHook',
    'EpochBasedTrainLoop',
    'GroupedOptimWrapper',
    'IterBasedTrainLoop',
    'PREEMPTED',
    'PreemptionHook',
    'RuntimeInfoHook',
    'SeededBatchSampler',
    'SeededDataset',
    'TeacherAccuracyHook',
    'TeacherCacheHook',
    'ThroughputHook',
    'check_fits',
    'find_resume_checkpoint',
    'stopping_in_order',
]
