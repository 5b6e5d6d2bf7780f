"""What figures show of predictions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crld_zoo.errors import InputError
from crld_zoo.evaluation import calibration_bins, class_similarity, expected_calibration_error


def test_bins_are_those_of_a_loop():
    confidence, correct = torch.rand(200, dtype=torch.double), torch.rand(200) < 0.5
    confidence[:3] = torch.tensor([0.0, 0.2, 1.0])  # an edge belongs to the bin below it
    count, hits, sums = calibration_bins(confidence, correct, bins=5)
    expected = np.zeros((3, 5))
    for p, right in zip(confidence.tolist(), correct.tolist(), strict=True):
        place = next(m for m in range(5) if p <= (m + 1) / 5 or m == 4)
        expected[:, place] += (1, right, p)
    np.testing.assert_allclose(torch.stack([count, hits, sums]), expected)
    error = sum(abs(h - s) for h, s in expected[1:].T) / 200
    assert expected_calibration_error(confidence, correct, bins=5) == pytest.approx(error)


def test_similarity_is_the_correlation_of_each_two_classes():
    logits = torch.randn(50, 6)
    expected = [[np.corrcoef(logits[:, a], logits[:, b])[0, 1] for b in range(6)] for a in range(6)]
    np.testing.assert_allclose(class_similarity(logits), expected, atol=1e-6)
    assert torch.allclose(class_similarity(3 * logits - 2), class_similarity(logits)), 'scale and shift say nothing'
    assert class_similarity(logits[:, :1]).shape == (1, 1)


def test_one_sample_has_no_correlation():
    with pytest.raises(InputError, match='two samples or more'):
        class_similarity(torch.zeros(1, 3))
