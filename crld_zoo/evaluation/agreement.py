"""How often two networks say the same."""

from __future__ import annotations

from torch import Tensor

from crld_zoo.errors import InputError


def agreement(scores_a: Tensor, scores_b: Tensor) -> float:
    """Share of samples to which two networks give the same class, from 0 to 1.

    Args:
        scores_a: Scores or logits of one network, ``(N, K)``.
        scores_b: Those of the other on the same samples, ``(N, K)``.

    Raises:
        InputError: Scores of different shapes, or none at all.
    """
    if scores_a.shape != scores_b.shape or scores_a.ndim != 2 or not len(scores_a):
        raise InputError(
            'agreement: the two score matrices must be (N, K) of the same samples, not '
            f'{tuple(scores_a.shape)} and {tuple(scores_b.shape)}.'
        )
    return (scores_a.argmax(1) == scores_b.argmax(1)).double().mean().item()
