"""Two processes with half a batch each train as one process with the whole batch."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed
from mmengine.model import MMDistributedDataParallel

from crld_zoo.distillers import Progress
from crld_zoo.launch.processes import leave_group
from crld_zoo.registry import MODELS

from ..processes import run_two

CLASSES, COUNT = 5, 8


def model_of(method: str, teacher: dict | None = None):
    """A small fp64 Distillation whose student's batch norm uses its running statistics."""
    torch.manual_seed(0)
    network = dict(model='crld_zoo::resnet8', num_classes=CLASSES)
    model = MODELS.build(
        dict(
            type='Distillation',
            student=network,
            teacher=teacher or dict(**network, checkpoint='random'),
            distiller=dict(type='CRLD', distiller=dict(type=method), tau_w=0.2285, tau_s=0.2285),
            data_preprocessor=dict(type='ViewPreprocessor', mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0]),
        )
    ).double()
    model.train().student.eval()
    model.distiller.begin(Progress(epoch=5, iteration=40, epochs=10, iterations=100))
    return model


def batch(part: slice) -> tuple[dict, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    views = {
        name: torch.randn(COUNT, 3, 8, 8, generator=generator, dtype=torch.float64)[part] for name in ('weak', 'strong')
    }
    return views, (torch.arange(COUNT) % CLASSES)[part]


def step(model, part: slice) -> dict:
    losses = model(*batch(part), mode='loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    student = getattr(model, 'module', model).student
    return dict(
        losses={key: value.detach() for key, value in losses.items()},
        gradients={name: parameter.grad.clone() for name, parameter in student.named_parameters()},
    )


def averaged(rank: int) -> dict:
    """Steps in which the student's weights are equal on all processes, and its batch statistics the process's own."""
    model = model_of('KD', dict(type='EMATeacher', decay=0.6))
    model.student.train()
    for part in (slice(0, 4), slice(2, 6)):
        with torch.no_grad():
            views, target = batch(slice(part.start + 2 * rank, part.stop + 2 * rank))
            model(views, target, mode='loss')
            for weight in model.student.parameters():
                weight.mul_(1.1)
        model.observe()
    networks = dict(student=model.student, teacher=model.teacher.network)
    return {name: {key: value.clone() for key, value in net.state_dict().items()} for name, net in networks.items()}


def _work(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    half = slice(rank * COUNT // 2, (rank + 1) * COUNT // 2)
    results = {
        method: step(MMDistributedDataParallel(model_of(method), broadcast_buffers=False), half)
        for method in ('KD', 'DKD')
    }
    results['averaged'] = averaged(rank)
    torch.save(results, folder / f'{rank}.pth')
    leave_group()


def test_two_processes_equal_one(tmp_path):
    run_two(_work, tmp_path)
    halves = [torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in range(2)]
    for method in ('KD', 'DKD'):
        whole = step(model_of(method), slice(None))
        assert 0 < whole['losses']['keep_weak'] < 1, 'a mask that keeps all or nothing would test less'
        for key, value in whole['losses'].items():
            torch.testing.assert_close(
                (halves[0][method]['losses'][key] + halves[1][method]['losses'][key]) / 2, value, rtol=1e-6, atol=1e-9
            )
        for name, gradient in whole['gradients'].items():
            for half in halves:
                torch.testing.assert_close(half[method]['gradients'][name], gradient, rtol=1e-6, atol=1e-9)
    teachers, (first, second) = ([half['averaged'][of] for half in halves] for of in ('teacher', 'student'))
    assert any(not torch.equal(first[name], second[name]) for name in first), 'else equal statistics would test nothing'
    for teacher in teachers:  # that of the main process, as if it were alone
        torch.testing.assert_close(teacher, averaged(0)['teacher'], rtol=0, atol=0)
