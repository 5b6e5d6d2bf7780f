"""What the commands do with a config."""

from __future__ import annotations

import errno
import logging
import re
import signal
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from crld_zoo import launch
from crld_zoo.engine import Bf16OptimWrapper, DivergenceHook, EpochBasedTrainLoop, PreemptionHook
from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.launch import guard

CONFIG = """
custom_imports = dict(imports=['tests.test_engine.tiny_run'])
default_scope = 'crld_zoo'
model = dict(type='NoisyNet')
train_dataloader = dict(batch_size=4, num_workers=0, dataset=dict(type='NoisyPoints'),
                        sampler=dict(type='DefaultSampler', shuffle=True), collate_fn=dict(type='default_collate'))
train_cfg = dict(by_epoch=True, max_epochs=2)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
log_level = 'WARNING'
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config file in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'tiny.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture
def runners(monkeypatch) -> list:
    """Every runner that is built."""
    built = []
    from_cfg = Runner.from_cfg

    def build(cfg):
        built.append(from_cfg(cfg))
        return built[-1]

    monkeypatch.setattr(Runner, 'from_cfg', build)
    return built


def test_every_run_has_its_safeguards(config, tmp_path, runners):
    launch.run_train(config)
    assert (tmp_path / 'work_dirs' / 'tiny' / 'epoch_2.pth').is_file()
    (runner,) = runners
    assert isinstance(runner.train_loop, EpochBasedTrainLoop)
    kinds = [type(hook) for hook in runner.hooks]
    assert DivergenceHook in kinds and PreemptionHook in kinds


def test_runs_that_begin_in_one_second_have_a_log_each(config, monkeypatch):
    monkeypatch.setattr('time.strftime', lambda *_: '20260101_000000')  # the name of a run's folder of logs
    logs, each_step = [], {'default_hooks.logger': dict(type='LoggerHook', interval=1)}
    for name in ('a', 'b'):
        launch.run_train(config, work_dir=name, cfg_options=each_step)
        logs.append(Path(name, '20260101_000000', 'vis_data', 'scalars.json').read_text())
    assert logs[1] and Path('a', '20260101_000000', 'vis_data', 'scalars.json').read_text() == logs[0]


def test_resume_keeps_the_seed(config, runners):
    launch.run_train(config, work_dir='a', seed=3)
    launch.run_train(config, work_dir='a', resume=True, cfg_options={'train_cfg.max_epochs': 3})
    launch.run_train(config, work_dir='a', resume='a/epoch_1.pth', seed=3)
    assert [runner.seed for runner in runners] == [3, 3, 3]
    assert [runner.epoch for runner in runners] == [2, 3, 2]
    with pytest.raises(InputError, match='the run to resume has the seed 3, not 4'):
        launch.run_train(config, work_dir='a', resume='auto', seed=4)


def test_the_checkpoint_has_the_seed_even_where_the_config_has_another(config, runners, tmp_path):
    launch.run_train(config, work_dir='a', seed=3)
    other = tmp_path / 'other.py'
    other.write_text(CONFIG + 'randomness = dict(seed=5)\n')
    with pytest.raises(InputError, match='has the seed 3, not 5'):
        launch.run_train(config, work_dir='a', resume=True, cfg_options={'randomness.seed': 5})
    launch.run_train(other, work_dir='a', resume=True)
    assert runners[1].train_dataloader.batch_sampler.sampler.seed == runners[1].seed == 3
    assert runners[1].cfg.randomness.seed == 3


def test_resume_where_nothing_is(config, runners):
    launch.run_train(config, work_dir='a', resume=True)
    assert runners[0].epoch == 2


def test_a_resume_needs_a_whole_checkpoint_of_this_model(config, tmp_path):
    with pytest.raises(MissingFileError, match='there is no checkpoint a/epoch_1.pth'):
        launch.run_train(config, resume='a/epoch_1.pth')
    launch.run_train(config, work_dir='a')
    other = tmp_path / 'other.py'
    other.write_text(CONFIG + "custom_hooks = [dict(type='EMAHook')]\nmodel = dict(type='WiderNet')\n")
    with pytest.raises(
        InputError,
        match=r'a/epoch_2.pth does not fit the model of this config \(of another shape: '
        r'net.0.bias \(8,\) instead of \(9,\)',
    ):
        launch.run_train(other, work_dir='a', resume=True)


def test_a_missing_config_names_the_nearest(config):
    with pytest.raises(MissingFileError, match=r'there is no config tinny.py \(nearest: .*tiny'):
        launch.load_config('tinny.py')


def test_options_replace_values(config):
    cfg = launch.load_config(config, cfg_options={'optim_wrapper.optimizer.lr': 0.5})
    assert cfg.optim_wrapper.optimizer.lr == 0.5
    assert cfg.work_dir == 'work_dirs/tiny'
    config.write_text(CONFIG + "work_dir = 'mine'\n")
    assert launch.load_config(config).work_dir == 'mine'
    assert launch.load_config(config, work_dir='other').work_dir == 'other'


@pytest.mark.parametrize(
    'change',
    [
        {'default_hooks': dict(checkpoint=dict(type='CheckpointHook', out_dir='elsewhere'))},
        {'default_hooks': dict(logger=dict(type='LoggerHook', out_dir='elsewhere'))},
        {'visualizer': dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend', save_dir='elsewhere')])},
    ],
)
def test_what_is_written_elsewhere_is_said(config, tmp_path, change):
    options = {**change, 'train_cfg.max_epochs': 1, 'log_level': 'INFO', 'experiment_name': tmp_path.name}
    launch.run_train(config, cfg_options=options)
    (log,) = (tmp_path / 'work_dirs' / 'tiny').rglob('*.log')
    assert re.search('elsewhere.* is written to, outside of the work directory', log.read_text())


PREPROCESSORS = """
custom_imports = dict(imports=['tests.test_engine.tiny_run'])
data_preprocessor = dict(type='ViewPreprocessor', mean=[1.0], views=dict(weak=[], strong=[dict(type='Cutout')]))
model = dict(type='NoisyNet', data_preprocessor=dict(mean=[2.0], views=dict(strong=[])))
"""


def test_a_preprocessor_beside_the_model_is_the_model_s_which_says_the_last_word(config):
    config.write_text(PREPROCESSORS)
    cfg = launch.load_config(config)
    expected = dict(type='ViewPreprocessor', mean=[2.0], views=dict(weak=[], strong=[]))
    assert cfg.model.data_preprocessor == expected
    assert 'data_preprocessor' not in cfg
    child = config.with_name('child.py')
    child.write_text("_base_ = 'tiny.py'\ndata_preprocessor = dict(std=[3.0])\n")
    assert launch.load_config(child).model.data_preprocessor == {**expected, 'std': [3.0]}
    cfg = launch.load_config(child, cfg_options={'model.data_preprocessor.views.strong': [dict(type='RandAugment')]})
    assert cfg.model.data_preprocessor.views.strong == [dict(type='RandAugment')]


def test_checkpoints_in_a_folder_of_the_work_directory_are_found(config, tmp_path, runners):
    inside = {'default_hooks': dict(checkpoint=dict(type='CheckpointHook', interval=1, out_dir='work_dirs/tiny/kept'))}
    launch.run_train(config, cfg_options=inside)
    assert (tmp_path / 'work_dirs' / 'tiny' / 'kept' / 'tiny' / 'epoch_2.pth').is_file()
    launch.run_train(config, resume=True, cfg_options={**inside, 'train_cfg.max_epochs': 3})
    assert runners[-1].epoch == 3 and runners[-1].iter == 18


def test_bfloat16(config, runners):
    launch.run_train(config, amp=True, cfg_options={'train_cfg.max_epochs': 1})
    wrapper = runners[0].optim_wrapper
    assert isinstance(wrapper, Bf16OptimWrapper)
    model = runners[0].model
    with wrapper.optim_context(model):
        assert model.net[0](torch.zeros(2, 4)).dtype == torch.bfloat16
    assert model.net[0].weight.dtype == torch.float32
    config.write_text(CONFIG + "optim_wrapper = dict(type='ApexOptimWrapper', optimizer=dict(type='SGD', lr=0.1))\n")
    with pytest.raises(InputError, match='--amp replaces an OptimWrapper, but the config has a ApexOptimWrapper'):
        launch.run_train(config, amp=True)


def test_the_learning_rate_scales_with_the_batch(config, runners):
    with pytest.raises(InputError, match='has no auto_scale_lr.base_batch_size'):
        launch.run_train(config, auto_scale_lr=True)
    launch.run_train(config, auto_scale_lr=True, cfg_options={'auto_scale_lr': dict(base_batch_size=8)})
    assert runners[0].optim_wrapper.optimizer.param_groups[0]['lr'] == 0.05


@pytest.mark.parametrize('seed', [-1, 2**32, 'abc', 1.5])
def test_impossible_seeds(config, seed):
    with pytest.raises(InputError, match='the seed must be a whole number from 0 to 4294967295'):
        launch.run_train(config, seed=seed)


def test_only_torchrun_starts_processes_without_gpus(config):
    with pytest.raises(InputError, match="launcher 'slurm' needs GPUs"):
        launch.run_train(config, launcher='slurm')


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_batch_norms_over_processes_need_gpus(config):
    with pytest.raises(InputError, match='sync_bn needs GPUs'):
        launch.run_train(config, launcher='pytorch', cfg_options={'sync_bn': 'torch'})


def test_a_config_that_names_its_own_loop_keeps_it():
    cfg = Config(dict(work_dir='a', model=dict(), train_cfg=dict(type='IterBasedTrainLoop', max_iters=3)))
    launch.prepare(cfg)
    assert cfg.train_cfg.type == 'IterBasedTrainLoop'
    cfg = Config(dict(work_dir='a', model=dict(), train_cfg=dict(by_epoch=False, max_iters=3)))
    launch.prepare(cfg)
    assert cfg.train_cfg == dict(type='IterBasedTrainLoop', max_iters=3)


class TestGuard:
    """``main_guard``: what a user can mend is a sentence."""

    @staticmethod
    def ended(error: BaseException, capsys) -> tuple[int, str]:
        @launch.main_guard
        def command() -> None:
            raise error

        with pytest.raises(SystemExit) as caught:
            command()
        return caught.value.code, capsys.readouterr().err

    def test_input_error(self, capsys):
        assert self.ended(InputError('no such thing.'), capsys) == (2, 'error: no such thing.\n')

    def test_input_error_of_a_loader_worker(self, capsys):
        text = (
            'Caught InputError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n'
            '  File "x.py", line 1, in f\ncrld_zoo.errors.InputError: no such thing: really\n'
        )
        assert self.ended(InputError(text), capsys) == (2, 'error: no such thing: really\n')

    def test_full_disk(self, capsys):
        assert self.ended(OSError(errno.ENOSPC, 'No space left on device', 'a.log'), capsys) == (
            2,
            "error: [Errno 28] No space left on device: 'a.log': make room, then run the command again (a training: "
            'with --resume).\n',
        )

    @pytest.mark.parametrize(
        'error',
        [
            FileNotFoundError(errno.ENOENT, 'No such file or directory', 'a.png'),
            FileNotFoundError(
                'Caught FileNotFoundError in DataLoader worker process 0.\nOriginal Traceback …\n'
                "FileNotFoundError: [Errno 2] No such file or directory: 'a.png'\n"
            ),
        ],
    )
    def test_missing_file(self, capsys, error):
        assert self.ended(error, capsys) == (
            2,
            "error: [Errno 2] No such file or directory: 'a.png': see to this file or folder, then run the command "
            'again (a training: with --resume).\n',
        )

    def test_killed_worker(self, capsys):
        code, text = self.ended(RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. '), capsys)
        assert code == 2 and text.startswith('error: DataLoader worker (pid 7) is killed by signal: Killed: often ')

    def test_killed_worker_reported_in_the_middle_of_something_else(self, capsys):
        wrapped = SyntaxError('cannot format the config')
        wrapped.__context__ = RuntimeError('DataLoader worker (pid(s) 7) exited unexpectedly')
        code, text = self.ended(wrapped, capsys)
        assert code == 2 and text.startswith('error: DataLoader worker (pid(s) 7) exited unexpectedly: often ')

    def test_killed_worker_reported_late(self, capsys):
        def report(number, frame):
            raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. ')

        before = signal.signal(signal.SIGALRM, report)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            code, text = self.ended(ConnectionResetError(errno.ECONNRESET, 'Connection reset by peer'), capsys)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert code == 2 and text.startswith('error: DataLoader worker (pid 7) is killed by signal: Killed: often ')

    def test_interrupt(self, capsys):
        assert self.ended(KeyboardInterrupt(), capsys) == (130, 'error: interrupted\n')

    def test_the_process_is_named(self, capsys, monkeypatch):
        monkeypatch.setattr(guard, 'get_rank', lambda: 3)
        assert self.ended(InputError('no.'), capsys) == (2, 'error (process 3): no.\n')

    @pytest.mark.parametrize(
        'error',
        [
            ValueError('a bug'),
            OSError(errno.ENOENT, 'No such file'),
            RuntimeError('a bug'),
            ConnectionResetError(),
            RuntimeError('Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback …'),
        ],
    )
    def test_bugs_keep_their_traceback(self, error):
        @launch.main_guard
        def command() -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            command()
        assert caught.value is error

    def test_results_pass(self, monkeypatch):
        monkeypatch.setattr(logging, 'raiseExceptions', True)
        assert launch.main_guard(lambda: 5)() == 5
        assert sys.exc_info() == (None, None, None)


@pytest.mark.parametrize(
    'options',
    [
        {'model.compile': dict(mode='reduce-overhead')},
        {'model.compile': dict(mode='max-autotune')},
        {'model.graph': True},
    ],
)
def test_graphs_and_accumulated_gradients_do_not_go_together(config, options):
    with pytest.raises(InputError, match='cannot be accumulated'):
        launch.run_train(config, cfg_options={**options, 'optim_wrapper.accumulative_counts': 2})


@pytest.mark.parametrize(
    ('options', 'device'),
    [(dict(num_workers=0), 'auto'), (dict(num_workers=2), 'cpu'), (dict(num_workers=0, pin_memory=True), 'cpu')],
)
def test_images_stay_off_the_gpu_where_the_loader_could_not_read_them(tmp_path, options, device):
    cfg = Config(
        dict(work_dir=str(tmp_path), train_dataloader=dict(dataset=dict(type='Digits', device='auto'), **options))
    )
    launch.prepare(cfg)
    assert cfg.train_dataloader.dataset.device == device


def test_the_quickstart_takes_no_folder_that_is_not_its_own(tmp_path):
    from crld_zoo.launch.quickstart import main

    mine = tmp_path / 'report' / 'mine.txt'
    mine.parent.mkdir()
    mine.touch()
    with pytest.raises(InputError, match='is not empty and no earlier quickstart'):
        main(['--work-dir', str(tmp_path)])
    assert mine.exists()
