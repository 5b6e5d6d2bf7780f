"""A bad loss stops the run before anything bad is made or saved."""

from __future__ import annotations

import copy
import os

import pytest
import torch
from mmengine.hooks import Hook

from crld_zoo.engine import DivergenceError, DivergenceHook
from crld_zoo.errors import InputError
from crld_zoo.launch.processes import leave_group

from ..processes import run_two
from . import tiny_run

NAN, INF = float('nan'), float('inf')


class Poison(Hook):
    """Makes loss_kd what it says at a call of the model, and notes the weights before that step."""

    def __init__(self, **poison: float) -> None:
        self.poison = {int(call[1:]): value for call, value in poison.items()}

    def before_train(self, runner) -> None:
        runner.model.poison = self.poison

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.model.calls + 1 in self.poison:
            self.state = {name: value.clone() for name, value in runner.model.state_dict().items()}
            self.optimizer = {
                place: state['momentum_buffer'].clone()
                for place, state in enumerate(runner.optim_wrapper.optimizer.state.values())
            }


@pytest.mark.parametrize('value', [NAN, INF, -INF])
def test_the_step_is_not_made(tmp_path, value):
    poison = Poison(_9=value)
    runner = tiny_run.build(tmp_path)
    runner.register_hook(poison)
    with pytest.raises(DivergenceError) as caught:
        runner.train()
    assert str(caught.value).startswith('loss_kd is not finite at iteration 9 (epoch 2): the run stops')
    assert f'the last good checkpoint is {tmp_path}/epoch_1.pth' in str(caught.value)
    parameters = dict(runner.model.named_parameters())
    assert parameters and all(torch.equal(parameters[name], poison.state[name]) for name in parameters)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']


def test_without_a_checkpoint_it_says_so(tmp_path):
    with pytest.raises(DivergenceError, match='at iteration 1 .*there is no checkpoint from before'):
        tiny_run.train(tmp_path, hooks=[Poison(_1=NAN)])


@pytest.fixture
def as_on_a_gpu(monkeypatch) -> None:
    """What is bad is noted on the device and not read at once."""
    monkeypatch.setattr(DivergenceHook, '_at_once', lambda self, device: False)


def test_on_a_gpu_the_first_bad_iteration_is_named_later(tmp_path, as_on_a_gpu):
    with pytest.raises(DivergenceError, match=r'^loss_kd is not finite at iteration 9 \(epoch 2\)'):
        tiny_run.train(tmp_path, hooks=[Poison(_9=NAN, _10=NAN)])
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']


def test_on_a_gpu_it_is_read_at_an_interval(tmp_path, as_on_a_gpu):
    poison = Poison(_8=INF)
    runner = tiny_run.build(tmp_path, **{'default_hooks.divergence.interval': 4})
    runner.register_hook(poison)
    with pytest.raises(DivergenceError, match='iteration 8 '):
        runner.train()
    assert runner.model.calls == 10  # the fourth batch of the second epoch


def test_on_a_gpu_a_snapshot_reads_what_was_noted(tmp_path, as_on_a_gpu):
    with pytest.raises(DivergenceError, match='iteration 3 '):
        tiny_run.train(tmp_path, hooks=[Poison(_3=NAN)], **{'default_hooks.checkpoint.snapshot_interval': 4})
    assert not list(tmp_path.glob('*.pth'))


STATES = {
    'the weight net.4.weight': lambda runner: runner.model.net[4].weight,
    'the buffer net.1.running_var': lambda runner: runner.model.net[1].running_var,
    'the state of the optimizer, state.0.momentum_buffer': lambda runner: next(
        iter(runner.optim_wrapper.optimizer.state.values())
    )['momentum_buffer'],
}


class Overflow(Hook):
    """A gradient that overflows while the loss does not."""

    def __init__(self, state: str, value: float) -> None:
        self.tensor, self.value = STATES[state], value

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == 12:
            with torch.no_grad():
                self.tensor(runner).view(-1)[0] = self.value


@pytest.mark.parametrize('value', [NAN, INF])
@pytest.mark.parametrize('state', STATES)
def test_a_bad_state_is_not_saved(tmp_path, state, value):
    with pytest.raises(DivergenceError, match=f'{state} is not finite after iteration 12: '):
        tiny_run.train(tmp_path, hooks=[Overflow(state, value)])
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']


def test_a_mask_of_infinities_is_no_divergence(tmp_path):
    runner = tiny_run.build(tmp_path)
    runner.model.register_buffer('mask', torch.full((2, 2), -INF))
    runner.train()
    assert runner.iter == 24


def test_the_iteration_loop_skips_as_well(tmp_path):
    by_iteration = {
        'train_cfg': dict(_delete_=True, type='IterBasedTrainLoop', max_iters=12, val_interval=100),
        'default_hooks.checkpoint.by_epoch': False,
        'default_hooks.divergence.max_skips': 1,
    }
    runner = tiny_run.train(tmp_path / 'skipped', hooks=[Poison(_9=NAN)], **copy.deepcopy(by_iteration))
    assert runner.iter == 12 and runner.message_hub.get_info('skipped_steps') == 1
    with pytest.raises(DivergenceError, match='loss_kd is not finite at iteration 10'):
        tiny_run.train(tmp_path / 'stopped', hooks=[Poison(_9=NAN, _10=NAN)], **by_iteration)


def test_a_loop_that_asks_for_no_step_stops_before_it_saves(tmp_path):
    foreign = {'train_cfg': dict(_delete_=True, type='mmengine.EpochBasedTrainLoop', max_epochs=4)}
    with pytest.raises(DivergenceError, match='loss_kd is not finite at iteration 9'):
        tiny_run.train(tmp_path, hooks=[Poison(_9=NAN)], **foreign, **{'default_hooks.divergence.max_skips': 5})
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']


def test_a_skipped_step_changes_nothing(tmp_path):
    poison = Poison(_9=NAN)

    class After(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            if runner.iter + 1 == 9:
                state = runner.model.state_dict()
                assert all(torch.equal(state[name], poison.state[name]) for name in state)  # batch statistics too
                buffers = [state['momentum_buffer'] for state in runner.optim_wrapper.optimizer.state.values()]
                assert all(torch.equal(buffer, poison.optimizer[place]) for place, buffer in enumerate(buffers))
                self.looked = True

    after = After()
    runner = tiny_run.train(tmp_path, hooks=[poison, after], **{'default_hooks.divergence.max_skips': 1})
    assert after.looked and runner.iter == 24
    assert runner.message_hub.get_info('skipped_steps') == 1
    assert all(weight.isfinite().all() for weight in runner.model.state_dict().values())


def test_skips_have_a_limit_that_survives_a_resume(tmp_path):
    two = {'default_hooks.divergence.max_skips': 2, 'default_hooks.checkpoint.snapshot_interval': 1}
    tiny_run.train(tmp_path, 10, hooks=[Poison(_8=NAN)], **two)
    with pytest.raises(DivergenceError, match='iteration 14 '):
        tiny_run.resume(tmp_path, hooks=[Poison(_2=INF, _4=INF)], **two)


def test_skips_and_accumulation_do_not_go_together(tmp_path):
    with pytest.raises(InputError, match='cannot be skipped while gradients are accumulated'):
        tiny_run.train(tmp_path, **{'default_hooks.divergence.max_skips': 1, 'optim_wrapper.accumulative_counts': 2})


def test_other_values_than_losses_may_be_anything(tmp_path, monkeypatch):
    forward = tiny_run.NoisyNet.forward

    def with_statistic(self, *args, mode='tensor', **kwargs):
        result = forward(self, *args, mode=mode, **kwargs)
        return {**result, 'keep': torch.tensor(NAN)} if mode == 'loss' else result

    monkeypatch.setattr(tiny_run.NoisyNet, 'forward', with_statistic)
    assert tiny_run.train(tmp_path).iter == 24


@pytest.mark.parametrize('options', [dict(max_skips=-1), dict(interval=0)])
def test_impossible_options(options):
    with pytest.raises(InputError, match='must be'):
        DivergenceHook(**options)


def _one_of_two(rank: int, folder: str) -> None:
    os.environ['LOCAL_RANK'] = str(rank)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    ddp = dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None))
    cfg = tiny_run.config(folder, **ddp, **{'default_hooks.divergence.max_skips': 1, 'train_cfg.max_epochs': 2})
    cfg.launcher, cfg.experiment_name = 'pytorch', 'two'
    runner = tiny_run.Runner.from_cfg(cfg)
    network = runner.model.module
    network.poison = {3: NAN} if rank else {}
    runner.train()
    weights = [weight.detach().clone() for weight in network.parameters()]
    torch.save(
        dict(weights=weights, iter=runner.iter, skipped=runner.message_hub.get_info('skipped_steps')),
        f'{folder}/{rank}.pth',
    )
    torch.distributed.barrier()
    leave_group()


@pytest.mark.slow
def test_two_processes_skip_together(tmp_path):
    run_two(_one_of_two, str(tmp_path))
    first, second = (torch.load(tmp_path / f'{rank}.pth') for rank in (0, 1))
    assert first['iter'] == second['iter'] == 6 and first['skipped'] == second['skipped'] == 1
    assert all(torch.equal(*pair) for pair in zip(first['weights'], second['weights'], strict=True))
    assert all(weight.isfinite().all() for weight in first['weights'])
