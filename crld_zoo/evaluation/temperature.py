"""One temperature that calibrates a trained classifier."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from crld_zoo.errors import InputError


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    r"""The temperature under which held-out labels are the most likely.

    .. math::
        T^* = \arg\min_T \frac{1}{n} \sum_i -\log \mathrm{softmax}(z_i / T)_{y_i}

    (`Guo et al., On Calibration of Modern Neural Networks, 2017 <https://arxiv.org/abs/1706.04599>`_, section 4.2.) The
    loss is convex in ``1 / T``, so bisection on its derivative finds the one minimum. No answer changes its class.

    Args:
        logits: ``(n, K)``.
        target: Class indices ``(n,)``.

    Returns:
        ``T``, from 0.01 to 100: where all answers are right it has no lower bound, where they say nothing no upper one.

    Raises:
        InputError: No sample, or another number of labels than of logits.

    >>> logits = torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
    >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 3)  # right three times of four: 4 / log(3)
    3.641
    """
    if len(logits) != len(target) or not len(target):
        raise InputError(f'fit_temperature: {len(target)} labels for {len(logits)} logits: it needs one each, and one.')
    logits, target = logits.detach().double(), target.long()
    low, high = torch.tensor(0.01).log().item(), torch.tensor(100.0).log().item()
    for _ in range(60):
        middle = torch.tensor((low + high) / 2, dtype=torch.double, device=logits.device, requires_grad=True)
        (slope,) = torch.autograd.grad(F.cross_entropy(logits / middle.exp(), target), middle)
        low, high = (low, middle.item()) if slope > 0 else (middle.item(), high)
    return float(torch.tensor((low + high) / 2, dtype=torch.double).exp())
