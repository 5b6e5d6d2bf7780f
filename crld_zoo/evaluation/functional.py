"""What is measured of predictions, as pure functions of logits and labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from crld_zoo.errors import InputError


def topk_accuracy(scores: Tensor, target: Tensor, k: int = 1) -> float:
    """Share of samples whose class is among the ``k`` highest scores, from 0 to 1.

    Args:
        scores: Scores or logits ``(N, K)``.
        target: Class indices ``(N,)``.
        k: At most ``K``.

    >>> topk_accuracy(torch.tensor([[3.0, 2, 1], [3, 2, 1]]), torch.tensor([0, 1]), k=1)
    0.5
    """
    return (scores.topk(k).indices == target[:, None]).any(1).double().mean().item()


def per_class_accuracy(scores: Tensor, target: Tensor) -> Tensor:
    """Share of each class's samples that are put into it, float64 ``(K,)``; NaN where a class has no sample.

    Args:
        scores: Scores or logits ``(N, K)``.
        target: Class indices ``(N,)``.

    >>> per_class_accuracy(torch.tensor([[2.0, 1, 0], [1, 2, 0], [0, 2, 1]]), torch.tensor([0, 0, 1])).tolist()
    [0.5, 1.0, nan]
    """
    classes = scores.shape[1]
    right = target[scores.argmax(1) == target]
    return right.bincount(minlength=classes).double() / target.bincount(minlength=classes)


def expected_calibration_error(confidence: Tensor, correct: Tensor, *, bins: int) -> float:
    r"""Expected calibration error, from 0 (calibrated) to 1.

    .. math::
        \mathrm{ECE} = \sum_{m=1}^{M} \frac{|B_m|}{n}\, \bigl|\mathrm{acc}(B_m) - \mathrm{conf}(B_m)\bigr|

    with ``M`` bins of equal width, :math:`B_m` the samples whose confidence lies in :math:`((m-1)/M, m/M]`
    (`Guo et al., On Calibration of Modern Neural Networks, 2017 <https://arxiv.org/abs/1706.04599>`_, equation 3).

    Args:
        confidence: Highest probability of each sample, ``(n,)``.
        correct: Whether that prediction was right, ``(n,)``.
        bins: ``M``.

    >>> expected_calibration_error(torch.tensor([0.75, 0.75]), torch.tensor([True, False]), bins=15)
    0.25
    """
    _, hits, sums = calibration_bins(confidence, correct, bins=bins)
    return ((hits - sums).abs().sum() / len(confidence)).item()


def calibration_bins(confidence: Tensor, correct: Tensor, *, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a reliability diagram shows: the samples by their confidence, in bins of equal width closed on the right.

    Args:
        confidence: Highest probability of each sample, ``(n,)``.
        correct: Whether that prediction was right, ``(n,)``.
        bins: How many.

    Returns:
        Of each bin, float64 ``(bins,)``: the number of samples, how many of them were right, the sum of their
        confidences. The second and the third over the first are the accuracy and the confidence of the bin.

    >>> [part.tolist() for part in calibration_bins(torch.tensor([0.75, 0.75]), torch.tensor([True, False]), bins=2)]
    [[0.0, 2.0], [0.0, 1.0], [0.0, 1.5]]
    """
    confidence, correct = confidence.double(), correct.double()
    # A bin is closed on the right, as bucketize has it between the inner edges.
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.double, device=confidence.device)[1:-1]
    index = torch.bucketize(confidence, edges)
    parts = (torch.ones_like(confidence), correct, confidence)
    count, hits, sums = (torch.zeros(bins, dtype=torch.double, device=p.device).index_add_(0, index, p) for p in parts)
    return count, hits, sums


def class_similarity(logits: Tensor) -> Tensor:
    r"""Which classes a network takes for alike: Pearson's correlation of their logits over the samples.

    .. math::
        S_{ab} = \frac{\sum_i (z_{ia} - \bar z_a)(z_{ib} - \bar z_b)}{n\, \sigma_a \sigma_b}

    The difference between a teacher's and a student's is how much of the teacher's dark knowledge was not learned.

    Args:
        logits: ``(n, K)``.

    Returns:
        float64 ``(K, K)``, from -1 to 1, with ones on the diagonal; NaN beside a class whose logit is constant.

    Raises:
        InputError: Fewer than two samples.

    >>> class_similarity(torch.tensor([[1.0, 2.0, 0.0], [2.0, 4.0, -1.0]])).round().tolist()
    [[1.0, 1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]
    """
    if logits.ndim != 2 or len(logits) < 2:
        raise InputError(
            f'class_similarity: the logits must be (n, K) of two samples or more, not {tuple(logits.shape)}.'
        )
    return torch.corrcoef(logits.double().T).reshape(logits.shape[1], logits.shape[1])


def negative_log_likelihood(logits: Tensor, target: Tensor) -> float:
    r"""Mean of :math:`-\log p_t` in nats, ``t`` being the true class and ``p`` the softmax of the logits.

    Args:
        logits: ``(N, K)``; logarithms of probabilities are logits.
        target: Class indices ``(N,)``.

    >>> round(negative_log_likelihood(torch.zeros(2, 4), torch.tensor([0, 3])), 4)  # log 4
    1.3863
    """
    return torch.nn.functional.cross_entropy(logits.double(), target).item()


def mean_kl(logits_p: Tensor, logits_q: Tensor) -> float:
    r"""Mean over the samples of :math:`KL(p \,\|\, q) = \sum_k p_k (\log p_k - \log q_k)` in nats.

    To measure a student, ``p`` is the teacher and ``q`` the student, as in the distillation loss.

    Args:
        logits_p: ``(N, K)``.
        logits_q: ``(N, K)``.

    Raises:
        InputError: Logits of different shapes, or none at all.

    >>> mean_kl(torch.tensor([[1.0, 2]]), torch.tensor([[3.0, 4]]))
    0.0
    """
    _check_pair(logits_p, logits_q, 'mean_kl')
    log_p, log_q = logits_p.double().log_softmax(1), logits_q.double().log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1).mean().item()


def agreement(scores_a: Tensor, scores_b: Tensor) -> float:
    """Share of samples to which two networks give the same class, from 0 to 1.

    Args:
        scores_a: Scores or logits of one network, ``(N, K)``.
        scores_b: Those of the other on the same samples, ``(N, K)``.

    Raises:
        InputError: Scores of different shapes, or none at all.

    >>> agreement(torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[2.0, 1], [1, 2]]))
    0.5
    """
    _check_pair(scores_a, scores_b, 'agreement')
    return (scores_a.argmax(1) == scores_b.argmax(1)).double().mean().item()


def measure(logits_s: Tensor, logits_t: Tensor | None, labels: Tensor, *, bins: int = 15) -> dict[str, Any]:
    """Everything that a table of students says of one: by its labels, and by its teacher.

    Args:
        logits_s: The student's, ``(N, K)``.
        logits_t: The teacher's on the same samples, ``(N, K)``; None leaves its two measures out.
        labels: Class indices ``(N,)``.
        bins: Of the calibration error.

    Returns:
        ``top1``, ``top5`` (top-K of fewer than five classes) and ``per_class`` (a list of ``K``) in percent, ``ece``
        from 0 to 1, ``nll`` in nats, and of the teacher ``agreement`` in percent and ``kl`` in nats.

    Raises:
        InputError: Other shapes, or a sample without label.

    >>> sorted(measure(torch.eye(3), torch.eye(3), torch.arange(3)))
    ['agreement', 'ece', 'kl', 'nll', 'per_class', 'top1', 'top5']
    """
    if logits_s.ndim != 2 or labels.shape != logits_s.shape[:1] or not len(labels) or labels.min() < 0:
        raise InputError(
            f'measure: logits must be (N, K) with a label for each sample, not {tuple(logits_s.shape)} with labels '
            f'{tuple(labels.shape)}, and no label may be -1.'
        )
    confidence, predicted = logits_s.double().softmax(1).max(1)
    measured: dict[str, Any] = dict(
        top1=100 * topk_accuracy(logits_s, labels),
        top5=100 * topk_accuracy(logits_s, labels, min(5, logits_s.shape[1])),
        ece=expected_calibration_error(confidence, predicted == labels, bins=bins),
        nll=negative_log_likelihood(logits_s, labels),
        per_class=(100 * per_class_accuracy(logits_s, labels)).tolist(),
    )
    if logits_t is not None:
        measured |= dict(agreement=100 * agreement(logits_s, logits_t), kl=mean_kl(logits_t, logits_s))
    return measured


def _check_pair(a: Tensor, b: Tensor, name: str) -> None:
    if a.shape != b.shape or a.ndim != 2 or not len(a):
        raise InputError(
            f'{name}: the two score matrices must be (N, K) of the same samples, not {tuple(a.shape)} and '
            f'{tuple(b.shape)}.'
        )
