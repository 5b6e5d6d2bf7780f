"""Trained students side by side: what each one scores on the test set of its config."""

from __future__ import annotations

from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from torch import Tensor

from crld_zoo.registry import MODELS

from .functional import measure
from .predictions import scores_and_labels


class TestRun(NamedTuple):
    """One pass of a trained student over a test set.

    Attributes:
        scores: Class probabilities ``(M, K)``.
        target: Class indices ``(M,)``.
        parameters: Parameters of the student.
    """

    scores: Tensor
    target: Tensor
    parameters: int

    def metrics(self) -> dict[str, float]:
        """``accuracy/top1`` and ``accuracy/top5`` in percent, ``calibration/ece`` from 0 to 1."""
        measured = measure(self.scores.log(), None, self.target)
        return {
            'accuracy/top1': measured['top1'],
            'accuracy/top5': measured['top5'],
            'calibration/ece': measured['ece'],
        }


@torch.no_grad()
def test_run(config: Config, checkpoint: str) -> TestRun:
    """Run the student of a recipe over its test set, without teacher.

    Args:
        config: The recipe that it was trained with; its test set gives batches with labels as one tensor.
        checkpoint: A checkpoint of that training.
    """
    init_default_scope(config.default_scope)
    model = MODELS.build({**config.model, 'teacher': None}).eval()
    load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
    batches = [scores_and_labels(model.val_step(batch)) for batch in Runner.build_dataloader(config.test_dataloader)]
    return TestRun(
        scores=torch.cat([scores for scores, _ in batches]),
        target=torch.cat([target for _, target in batches]),
        parameters=sum(parameter.numel() for parameter in model.student.parameters()),
    )
