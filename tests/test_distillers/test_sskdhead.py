"""SSKDHead: the formula in loops, a number by hand, what it trains and what it leaves alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from crld_zoo.distillers import Prediction, SSKDHead
from crld_zoo.distillers.features.sskdhead import own_image, rotation_similarities
from crld_zoo.errors import InputError
from crld_zoo.registry import MODELS

from .testers import close, prepared, softmax

ROWS = dict(rotated=3)
MODEL = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet8', num_classes=4),
    distiller=dict(type='SSKDHead'),
    data_preprocessor=dict(
        type='ViewPreprocessor',
        mean=[127.5] * 3,
        std=[127.5] * 3,
        image_size=16,
        views=dict(weak=[], rotated=dict(of='weak', operations=[dict(type='Rotations')])),
    ),
)


def cosine(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))


def test_formula_in_loops():
    distiller, batch = prepared(SSKDHead(), 5, 4, rows=ROWS)
    student, _, target = batch.predictions()
    found = distiller(student, {}, target)
    plain, turned = (distiller.head(student[view].features['embedding']).tolist() for view in ('weak', 'rotated'))
    rows = [[cosine(x, y) for y in plain] for x in turned]
    close(found['loss_head'], sum(-math.log(softmax(row)[n // 3]) for n, row in enumerate(rows)) / 15, rtol=1e-10)
    close(found['found'], sum(row.index(max(row)) == n // 3 for n, row in enumerate(rows)) / 15)


def test_number_by_hand():
    """Each turned image at its own plain one: the cosines are 1 and 0."""
    distiller = SSKDHead()
    distiller.head = nn.Identity()
    plain = torch.eye(2)
    views = {'weak': plain, 'rotated': 5 * plain.repeat_interleave(3, 0)}
    views = {view: Prediction(torch.zeros(len(rows), 4), {'embedding': rows}) for view, rows in views.items()}
    found = distiller(views, {}, torch.zeros(2, dtype=torch.int64))
    close(found['loss_head'], math.log(1 + math.exp(-1)), rtol=1e-6)
    assert found['found'] == 1


def test_which_image_a_turned_one_is_of():
    similarities = rotation_similarities(torch.eye(6)[:, :2], torch.eye(2))
    assert own_image(similarities).tolist() == [0, 0, 0, 1, 1, 1]
    assert not similarities[2:].any(), 'a zero vector is like nothing'


def test_the_network_stays_as_it_is_and_the_head_is_trained():
    torch.manual_seed(0)
    model = MODELS.build(MODEL).train()
    before = {name: value.clone() for name, value in model.student.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4)
    colors = torch.tensor([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)], dtype=torch.uint8)
    inputs = colors[:, :, None, None].expand(8, 3, 16, 16).contiguous()  # which no turn changes
    seen = []
    for _ in range(20):
        model.train()
        batch = model.data_preprocessor(dict(inputs=inputs, data_samples=torch.arange(8) % 4), True)
        losses = model(**batch, mode='loss')
        optimizer.zero_grad()
        losses['loss_head'].backward()
        optimizer.step()
        seen.append(losses['loss_head'].item())
    assert not model.student.training and model.distiller.training
    assert seen[-1] < seen[0] - 0.1
    for name, value in model.student.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert sum(value.numel() for value in model.parameters() if value.requires_grad) == 2 * (64 * 64 + 64)


def test_a_student_that_is_trained_is_not_frozen():
    model = MODELS.build(dict(MODEL, distiller=dict(type='CrossEntropy'))).train()
    assert model.student.training
    assert all(value.requires_grad for value in model.student.parameters())


def test_refusals():
    one = {view: Prediction(torch.zeros(1, 4), {'embedding': torch.ones(1, 6)}) for view in ('weak', 'rotated')}
    distiller = SSKDHead()
    with pytest.raises(InputError, match=r'projection heads that depend on the networks: call distiller.setup'):
        distiller(one, {}, torch.zeros(1, dtype=torch.int64))
    distiller.setup(one, {}, None)
    with pytest.raises(InputError, match='SSKD compares the samples of a batch with each other'):
        distiller(one, {}, torch.zeros(1, dtype=torch.int64))
