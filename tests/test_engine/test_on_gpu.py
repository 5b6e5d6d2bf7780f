"""What a run does on a GPU: it waits for nothing, in any precision, and ends as on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

import pytest
import torch
from mmengine.hooks import Hook
from torch.profiler import ProfilerActivity, profile

from crld_zoo.models import TeacherCache
from crld_zoo.views import SampleKeys

from ..small_run import config, train

pytestmark = pytest.mark.cuda
WAITS = ('cudaStreamSynchronize', 'cudaDeviceSynchronize', 'cudaEventSynchronize', 'Memcpy DtoH')


class Watch(Hook):
    """Lets nothing wait for the GPU in ten steps, and notes what a profiler sees of them."""

    priority = 'LOWEST'

    def __init__(self, first: int = 13, steps: int = 10) -> None:
        self.first, self.last = first, first + steps
        self.seen: list[str] = []
        self._held = ExitStack()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.first:
            torch.cuda.synchronize()
            self._profile = self._held.enter_context(profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]))
            torch.cuda.set_sync_debug_mode('error')
        elif runner.iter + 1 == self.last:
            torch.cuda.set_sync_debug_mode('default')
            self._held.close()
            self.seen = [event.name for event in self._profile.events()]


@pytest.mark.parametrize('graph', [False, True])
@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'Bf16OptimWrapper'])
def test_ten_steps_wait_for_nothing(tmp_path, wrapper, graph):
    """The tenth of fifty steps is not logged; an epoch of fifty, since its end is."""
    watch = Watch()
    changes = {
        'train_dataloader.dataset.num_images': 200,
        'train_cfg.max_epochs': 1,
        'optim_wrapper.type': wrapper,
        'model.graph': graph,
    }
    try:
        train(tmp_path, read_losses=False, hooks=(watch,), **changes)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert any('Launch' in name for name in watch.seen), 'the profiler saw the steps'
    # the profiler's own end synchronizes once
    found = [name for name in watch.seen if any(wait in name for wait in WAITS) and 'DeviceSynchronize' not in name]
    assert found == []


def test_a_wait_would_be_seen(tmp_path):
    class Reads(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            if runner.iter == 15:
                float(outputs['loss'])

    changes = {'train_dataloader.dataset.num_images': 200, 'train_cfg.max_epochs': 1}
    try:
        with pytest.raises(RuntimeError, match='synchroniz'):
            train(tmp_path, read_losses=False, hooks=(Watch(), Reads()), **changes)
    finally:
        torch.cuda.set_sync_debug_mode('default')


def test_data_and_model_are_on_the_gpu(tmp_path):
    devices = []

    def look(runner) -> None:
        dataset = runner.train_loop.dataloader.dataset.dataset
        devices.extend((dataset.images.device.type, next(runner.model.parameters()).device.type))
        devices.append(next(runner.model.teacher.parameters()).device.type)

    class Look(Hook):
        def before_train(self, runner) -> None:
            look(runner)

    train(tmp_path, hooks=(Look(),))
    assert devices == ['cuda'] * 3


@pytest.mark.parametrize('wrapper', ['Bf16OptimWrapper', 'AmpOptimWrapper'])
def test_reduced_precision_starts_as_float32(tmp_path, wrapper):
    losses, _ = train(tmp_path / 'half', **{'optim_wrapper.type': wrapper})
    expected, _ = train(tmp_path / 'full')
    assert losses != expected, 'it was really another arithmetic'
    for step in range(3):
        assert losses[step] == pytest.approx(expected[step], rel=0.1, abs=0.02)


def test_a_fused_optimizer_makes_the_same_steps(tmp_path):
    losses, weights = train(tmp_path / 'fused')
    expected, own = train(tmp_path / 'plain', **{'optim_wrapper.optimizer.fused': False})
    for one, other in zip(losses, expected, strict=True):
        assert one == pytest.approx(other, rel=0.01, abs=1e-3)
    for name, value in weights.items():
        torch.testing.assert_close(value, own[name], rtol=0.05, atol=0.01)


def test_the_first_step_is_the_cpus(tmp_path):
    """In another process, which sees no GPU: the views, the teacher and the loss are the same."""
    exact = {'env_cfg.cudnn_benchmark': False, 'train_cfg.max_epochs': 1}
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        losses, _ = train(tmp_path / 'gpu', **exact)
    finally:
        torch.backends.cudnn.allow_tf32 = before
    code = f'from tests.small_run import train; print(train({str(tmp_path / "cpu")!r}, **{exact!r})[0][0])'
    environment = {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = eval(done.stdout.splitlines()[-1], {'nan': float('nan')})
    assert losses[0] == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize('graph', [False, True])
def test_a_resumed_run_ends_as_the_one_that_never_stopped(tmp_path, monkeypatch, graph):
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    options = {'env_cfg.cudnn_benchmark': False, 'model.graph': graph}
    losses, weights = train(tmp_path, **options)
    checkpoint = str(tmp_path / 'epoch_1.pth')
    again, own = train(tmp_path / 'again', **options, resume=True, load_from=checkpoint)
    assert again == losses[len(losses) // 2 :]
    assert all(torch.equal(value, own[name]) for name, value in weights.items())


def test_a_cache_is_written_and_read_without_waiting(tmp_path):
    samples = torch.arange(64)
    logits = {epoch: torch.randn(64, 100).cuda() for epoch in range(3)}

    def keys(epoch: int) -> SampleKeys:
        host = (samples.numpy(), torch.zeros(64, dtype=torch.int64).numpy())
        return SampleKeys(0, epoch, samples.cuda(), torch.zeros(64, dtype=torch.int64).cuda(), host)

    def opened() -> TeacherCache:
        cache = TeacherCache(tmp_path)
        cache.open(samples=64, classes=100, decides=dict(teacher='a'), views=dict(weak='crop'))
        return cache

    of = {epoch: keys(epoch) for epoch in logits}
    cache = opened()
    torch.cuda.set_sync_debug_mode('error')
    try:
        for epoch, value in logits.items():
            assert cache.find('weak', of[epoch]) is None
            assert cache.keep('weak', of[epoch], value) is value
    finally:
        torch.cuda.set_sync_debug_mode('default')
    cache.close()  # what was still on its way is written
    cache = opened()
    torch.cuda.set_sync_debug_mode('error')
    try:
        read = {epoch: cache.find('weak', of[epoch]) for epoch in logits}
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert (cache.read, cache.computed) == (3 * 64, 0)
    for epoch, value in logits.items():
        assert read[epoch].is_cuda and torch.equal(read[epoch], value)


@pytest.mark.cuda(gpus=2)
def test_two_gpus_train_as_the_command_starts_them(root, tmp_path):
    cfg = config(tmp_path / 'unused')
    file = tmp_path / 'small.py'
    cfg.dump(file)
    options = ['--cfg-options', 'train_dataloader.batch_size=2', 'log_level=INFO']
    done = subprocess.run(
        ['tools/dist_train.sh', str(file), '2', '--work-dir', str(tmp_path / 'run'), *options],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(root)},
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert (tmp_path / 'run' / 'epoch_2.pth').is_file()
