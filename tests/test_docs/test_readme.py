"""The README's lines of Python run as they stand, given what they say that a reader has."""

from __future__ import annotations

import torch
from torch import nn

from .pages import blocks


def ten_lines() -> list[str]:
    return [block.text for block in blocks('README.md', 'python') if 'crld_zoo.distillers import' in block.text]


def test_a_loss_is_a_function_of_logits():
    space = {}
    exec(ten_lines()[0], space)
    assert space['loss'].shape == ()
    assert space['loss'] > 0


def test_a_loop_of_ones_own_learns_from_its_teacher():
    torch.manual_seed(0)
    teacher, student = nn.Linear(8, 5), nn.Linear(8, 5)
    with torch.no_grad():
        teacher.weight.mul_(20)  # sure enough for the masks
    images = torch.randn(4, 16, 8)
    loader = [(each, each + 0.01 * torch.randn_like(each), teacher(each).argmax(1)) for each in images]
    space = dict(
        teacher=teacher,
        student=student,
        loader=loader,
        optimizer=torch.optim.SGD(student.parameters(), lr=0.1),
        epochs=40,
        torch=torch,
    )

    def agreement() -> float:
        return (student(images).argmax(2) == teacher(images).argmax(2)).float().mean().item()

    before = agreement()
    exec(ten_lines()[1], space)
    assert agreement() > before + 0.2
    assert set(space['losses']) == {'loss_ce', 'loss_wv', 'loss_cv', 'keep_weak', 'keep_strong'}
    assert space['distiller'].distiller.ramp == 1, 'begin brings the warm-up to its end'
    assert all(parameter.grad is None for parameter in teacher.parameters())
