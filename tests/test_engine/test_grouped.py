"""A gradient and a momentum for each group of losses: against SGD, in loops, resumed, on two processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from crld_zoo.engine import GroupedOptimWrapper
from crld_zoo.errors import InputError
from crld_zoo.launch.processes import leave_group
from crld_zoo.registry import MODELS

from ..processes import run_two
from ..test_distillers.testers import golden
from . import tiny_run

GROUPS = ('label', 'target', 'rest')


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten()).double()


def losses_of(model: nn.Module, step: int) -> dict[str, Tensor]:
    """Three losses of a batch, each of another size."""
    images = torch.randn(6, 3, 6, 6, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
    outputs = model(images)
    return dict(
        label=outputs.logsumexp(1).mean(), target=3 * outputs.square().mean(), rest=outputs.sin().sum(1).square().mean()
    )


def trained(model: nn.Module, wrapper: OptimWrapper, steps: int, grouped: bool) -> list[Tensor]:
    """The weights after each step."""
    wrapper.initialize_count_status(model, 0, steps)
    seen = []
    for step in range(steps):
        with wrapper.optim_context(model):
            losses = losses_of(model, step)
        wrapper.update_params(losses if grouped else sum(losses.values()))
        seen.append(torch.cat([each.detach().flatten() for each in model.parameters()]))
    return seen


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last], ids=['', 'channels_last'])
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(accumulative_counts=3),  # eight steps: the last update has two
        dict(clip_grad=dict(max_norm=0.5)),
        dict(clip_grad=dict(max_norm=2.0, norm_type=1), accumulative_counts=2),
    ],
    ids=['plain', 'accumulated', 'clipped', 'both'],
)
@pytest.mark.parametrize('nesterov', [False, True], ids=['', 'nesterov'])
def test_equal_momenta_are_sgd_on_the_sum(options, nesterov, memory_format, fused):
    runs = []
    for grouped in (False, True):
        model = network().to(memory_format=memory_format)
        optimizer = torch.optim.SGD(
            [dict(params=model[0].parameters()), dict(params=model[1:].parameters(), lr=0.02, weight_decay=0.3)],
            lr=0.05,
            momentum=0.9,
            weight_decay=0.1,
            nesterov=nesterov,
            fused=fused,
        )
        own = {name: dict(value) if isinstance(value, dict) else value for name, value in options.items()}
        if grouped:
            wrapper = GroupedOptimWrapper(dict.fromkeys(GROUPS, 0.9), 'label', optimizer=optimizer, **own)
        else:
            wrapper = OptimWrapper(optimizer, **own)
        runs.append(trained(model, wrapper, 8, grouped))
        assert [(group['momentum'], group['weight_decay']) for group in optimizer.param_groups] == [
            (0.9, 0.1),
            (0.9, 0.3),
        ]
    for expected, actual in zip(*runs, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-13)


def test_a_gradient_of_another_memory_format():
    """A fused step on the CPU takes both as they lie in memory."""
    factor = torch.randn(2, 3, 4, 5)
    weight = nn.Parameter(torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last))
    wrapper = GroupedOptimWrapper(dict(a=0.9), optimizer=torch.optim.SGD([weight], lr=1.0, fused=True))
    wrapper.update_params(dict(a=(weight.contiguous() * factor).sum()))
    torch.testing.assert_close(weight.detach(), -factor, rtol=0, atol=0)


def test_clipping_was_at_work():
    """The test above would pass without it if no gradient were long."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    wrapper = GroupedOptimWrapper(dict.fromkeys(GROUPS, 0.0), optimizer=optimizer, clip_grad=dict(max_norm=0.5))
    first = torch.cat([each.detach().flatten() for each in model.parameters()])
    (after,) = trained(model, wrapper, 1, grouped=True)
    torch.testing.assert_close((after - first).norm(), torch.tensor(0.5, dtype=torch.float64), rtol=1e-5, atol=0)
    assert wrapper.message_hub.get_scalar('train/grad_norm').current() > 0.5


@pytest.mark.parametrize('row', golden('deepkd_optimizer'))
@pytest.mark.parametrize('fused', [False, True])
def test_steps_of_the_reference(row, fused):
    """DeepKD's optimizer; it gives the task's gradient the momentum of the target class."""
    says = row['params']
    weight = nn.Parameter(torch.tensor(row['w0'], dtype=torch.float64))
    wrapper = GroupedOptimWrapper(
        dict(tog=says['momentum_tcg'], ncg=says['momentum_ncg'], tcg=says['momentum_tcg']),
        optimizer=torch.optim.SGD([weight], lr=says['lr'], weight_decay=says['weight_decay'], fused=fused),
    )
    for gradients, expected in zip(row['grads'], row['w'], strict=True):
        wrapper.update_params({name: (weight * weight.new_tensor(each)).sum() for name, each in gradients.items()})
        torch.testing.assert_close(weight.detach(), weight.new_tensor(expected), rtol=1e-8, atol=1e-11)
    assert weight.grad is None


def test_steps_in_loops():
    """Each momentum is its own, a group without a gradient rests, and nesterov looks ahead in each."""
    momenta, decay, lr = dict(a=0.5, b=0.9, c=0.0), 0.1, 0.2
    weight, other = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(-1.0))
    wrapper = GroupedOptimWrapper(
        momenta, 'b', optimizer=torch.optim.SGD([weight, other], lr=lr, momentum=0.3, weight_decay=decay, nesterov=True)
    )
    expected, buffers = 1.0, {}
    for step in range(4):
        gradients = dict(a=1.0 + step, b=2.0, c=-0.5)
        if step == 2:
            del gradients['a']
        wrapper.update_params({name: each * weight for name, each in gradients.items()})
        for name, momentum in momenta.items():
            if name in gradients:
                gradient = gradients[name] + (decay * expected if name == 'b' else 0.0)
                buffers[name] = momentum * buffers.get(name, 0.0) + gradient
                expected -= lr * (gradient + momentum * buffers[name])
        assert weight.item() == pytest.approx(expected, rel=1e-6)
    assert other.item() == -1.0


def test_bf16_is_of_the_forward_pass():
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = GroupedOptimWrapper(dict(a=0.9), dtype='bfloat16', optimizer=optimizer)
    with wrapper.optim_context(model):
        outputs = model(torch.zeros(1, 2))
    assert outputs.dtype == torch.bfloat16
    wrapper.backward(dict(a=outputs.float().sum()))
    assert {each.dtype for each in wrapper.gradients['a'].values()} == {torch.float32}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(momenta={}), 'momenta must be a number from 0 to less than 1 for each group'),
        (dict(momenta=dict(a=1.0)), 'momenta must be a number from 0 to less than 1 for each group'),
        (dict(momenta=dict(a='0.9')), 'momenta must be a number from 0 to less than 1 for each group'),
        (dict(momenta=dict(a=0.9), decayed='b'), "decayed must be one of the groups a, not 'b'"),
        (dict(momenta=dict(a=0.9), dtype='float16'), "dtype must be 'bfloat16' or None, not 'float16'"),
        (dict(momenta=dict(a=0.9), clip_grad=dict(type='value', clip_value=1.0)), 'by one factor: set clip_grad.max'),
    ],
)
def test_impossible_options(options, message):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(InputError, match=message):
        GroupedOptimWrapper(optimizer=optimizer, **options)


def test_another_optimizer_is_refused():
    with pytest.raises(InputError, match=r"but the optimizer is Adam: set optim_wrapper.optimizer.type='SGD'"):
        GroupedOptimWrapper(dict(a=0.9), optimizer=torch.optim.Adam([nn.Parameter(torch.ones(1))]))


def test_losses_of_other_groups_are_refused():
    weight = nn.Parameter(torch.ones(1))
    wrapper = GroupedOptimWrapper(dict(a=0.9, b=0.9), optimizer=torch.optim.SGD([weight], lr=0.1))
    with pytest.raises(InputError, match='takes a loss for each of the groups a, b, not those of a, c'):
        wrapper.update_params(dict(a=weight.sum(), c=weight.sum()))
    with pytest.raises(InputError, match='takes a loss for each of the groups a, b, not one for all'):
        wrapper.update_params(weight.sum())
    with pytest.raises(InputError, match='KD has one backward pass for all its losses, but .* names a, b: set optim'):
        wrapper.check_groups([], 'KD')
    with pytest.raises(InputError, match='New has the groups a, c, but optim_wrapper.momenta names a, b: give each'):
        wrapper.check_groups(['c', 'a', 'c'], 'New')
    wrapper.check_groups(['b', 'a', 'b'], 'New')


@MODELS.register_module()
class GroupedNet(tiny_run.NoisyNet):
    """Two losses of two groups."""

    def parse_losses(self, losses):
        _, logged = super().parse_losses(losses)
        return dict(label=losses['loss_ce'], teacher=losses['loss_kd']), logged


@pytest.mark.parametrize('kill_after', [6, 9], ids=['between epochs', 'within an epoch'])
def test_a_resumed_run_goes_on_with_its_momenta(tmp_path, kill_after):
    options = {
        'model.type': 'GroupedNet',
        'optim_wrapper.type': 'GroupedOptimWrapper',
        'optim_wrapper.momenta': dict(label=0.8, teacher=0.95),
        'default_hooks.checkpoint.snapshot_interval': 1,
    }
    tiny_run.train(tmp_path / 'whole', **options)
    tiny_run.train(tmp_path / 'stopped', kill_after, **options)
    tiny_run.resume(tmp_path / 'stopped', **options)
    whole, resumed = (torch.load(tmp_path / run / 'epoch_4.pth') for run in ('whole', 'stopped'))
    states = whole['optimizer']['state'].values()
    assert all({'momentum_buffer_label', 'momentum_buffer_teacher'} == state.keys() for state in states)
    assert any((state['momentum_buffer_label'] != state['momentum_buffer_teacher']).any() for state in states)
    assert tiny_run.differences(whole, resumed) == []


class Sides(nn.Module):
    """Two losses, and a batch norm whose statistics the processes share."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.layer = nn.BatchNorm1d(4, affine=False).double(), nn.Linear(4, 3).double()

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        self.norm(inputs)  # its statistics alone: its outputs would depend on the other samples
        outputs = self.layer(inputs)
        return dict(label=outputs.logsumexp(1).mean(), teacher=outputs.square().mean())


def course(model: nn.Module, part: slice, accumulative_counts: int) -> dict[str, Tensor]:
    """Weights, buffers and momenta after four batches."""
    module = getattr(model, 'module', model)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, weight_decay=0.01)
    wrapper = GroupedOptimWrapper(
        dict(label=0.5, teacher=0.9),
        optimizer=optimizer,
        accumulative_counts=accumulative_counts,
        clip_grad=dict(max_norm=0.3),
    )
    wrapper.initialize_count_status(model, 0, 4)
    for step in range(4):
        batch = torch.randn(8, 4, generator=torch.Generator().manual_seed(step), dtype=torch.float64)[part]
        with wrapper.optim_context(model):
            losses = model(batch)
        wrapper.update_params(losses)
    found = {name: value.detach().clone() for name, value in module.state_dict().items()}
    for number, state in enumerate(optimizer.state.values()):
        found |= {f'{name} of {number}': value for name, value in state.items()}
    return found


def _work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    half = slice(4 * rank, 4 * rank + 4)
    found = {counts: course(MMDistributedDataParallel(Sides()), half, counts) for counts in (1, 2)}
    torch.save(found, folder / f'{rank}.pth')
    leave_group()


def test_two_processes_of_half_a_batch_are_one(tmp_path):
    """Weights and momenta; the batch statistics are the main process's, as DDP has them at each forward pass."""
    run_two(_work, tmp_path)
    first, second = (torch.load(tmp_path / f'{rank}.pth') for rank in range(2))
    for counts in (1, 2):
        whole = course(Sides(), slice(None), counts)
        assert sum(name.startswith('momentum_buffer_') for name in whole) == 4
        for name, value in whole.items():
            if not name.startswith('norm'):
                torch.testing.assert_close(first[counts][name], second[counts][name], rtol=0, atol=0)
                torch.testing.assert_close(first[counts][name], value, rtol=1e-12, atol=1e-14)
        one, other = (course(Sides(), part, counts)['norm.running_mean'] for part in (slice(4), slice(4, None)))
        torch.testing.assert_close(first[counts]['norm.running_mean'], one)
        apart = (second[counts]['norm.running_mean'] - one).abs().max()
        assert 0 < apart < (other - one).abs().max(), 'they differ by the last batch alone'
