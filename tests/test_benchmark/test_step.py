"""The parts of a step are the step's own, and measuring them leaves the run as it was."""

from __future__ import annotations

import time

import pytest
import torch

from crld_zoo.benchmark import Options, time_step
from crld_zoo.benchmark.floor import convolutions_alone
from crld_zoo.benchmark.loop import run_loop
from crld_zoo.benchmark.setup import measured_config
from crld_zoo.benchmark.stages import DataPath, StepParts, another_loader
from crld_zoo.benchmark.step import PARTS
from crld_zoo.benchmark.timing import Clock


def drive(recipe, tmp_path, protocol, **options) -> None:
    run_loop(measured_config(Options(recipe, random_weights=True, **options), tmp_path), protocol)


def test_segments_hold_the_iterations_asked_for(recipe, tmp_path):
    seen = []

    def protocol(runner):
        iterations = []
        for steps in (1, 3, 12):  # an epoch has 6, of which the last has 2 images
            segment = yield steps
            iterations.append(len(runner.message_hub.get_scalar('train/lr').data[0]) - sum(iterations))
            seen.append(segment)
            assert 0 < segment.waiting < segment.seconds
        seen.append(iterations)

    drive(recipe, tmp_path, protocol)
    first, second, third, iterations = seen
    assert (first.images, second.images) == (4, 4 + 4 + 2)
    assert third.images == 12 * 4 - 2 * 2
    assert iterations == [2, 4, 13], 'one goes untimed before each'


def test_the_wait_for_the_loader_is_seen(recipe, tmp_path):
    segments = []

    def protocol(runner):
        dataset = runner.train_dataloader.dataset.dataset
        read = dataset.__getitems__

        def slowly(indices):
            time.sleep(0.05)
            return read(indices)

        segments.append((yield 4))
        dataset.__getitems__ = slowly
        yield 1
        segments.append((yield 4))

    drive(recipe, tmp_path, protocol)
    quick, slow = segments
    assert slow.waiting >= 4 * 0.05
    assert slow.waiting - quick.waiting > 0.15
    assert slow.seconds > slow.waiting


@pytest.mark.parametrize('method', [None, 'CRD'], ids=str)  # which has features, projections and a memory of samples
def test_parts_leave_the_run_as_it_was(recipe, tmp_path, method):
    def weights(runner):
        state = runner.optim_wrapper.optimizer.state.values()
        return [
            tensor.clone()
            for tensor in (*runner.model.state_dict().values(), *(entry['momentum_buffer'] for entry in state))
        ]

    def protocol(runner):
        yield 2
        before, iteration, hub = weights(runner), runner.iter, len(runner.message_hub.get_scalar('train/lr').data[0])
        step = StepParts(runner)
        works = step.works()
        assert set(works) == {*PARTS, 'floor'}
        own = [parameter.clone() for parameter in step.model.parameters()]
        for name, work in works.items():
            work()
            moved = any(not torch.equal(*pair) for pair in zip(own, step.model.parameters(), strict=True))
            assert moved == (name in ('optimizer', 'floor')), f'{name}: the optimizer, and only it, makes a step'
            assert all(parameter.grad is None for parameter in step.model.parameters()), name
        for now, then in zip(weights(runner), before, strict=True):
            assert torch.equal(now, then)
        assert runner.iter == iteration
        assert len(runner.message_hub.get_scalar('train/lr').data[0]) == hub

    overrides = {} if method is None else {'model.distiller': dict(_delete_=True, type=method, nce_k=3)}
    drive(recipe, tmp_path, protocol, overrides=overrides)


def test_parts_run_in_the_precision_of_the_run(recipe, tmp_path):
    found = []

    def protocol(runner):
        yield 1
        step = StepParts(runner)
        kinds = []
        for network in (step.model.student, step.model.teacher.network):
            network.register_forward_hook(lambda *parts: kinds.append(parts[-1].dtype))
        step._forward_student()
        step._teacher()
        found.append(tuple(dict.fromkeys(kinds)))

    for amp in (False, True):
        drive(recipe, tmp_path / str(amp), protocol, amp=amp)
    assert found == [(torch.float32,), (torch.bfloat16,)]


def test_the_floor_is_the_convolutions(recipe, tmp_path):
    def protocol(runner):
        yield 1
        step = StepParts(runner)
        network = step.model.student
        layers = [layer for layer in network.modules() if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear))]
        calls = {layer: [] for layer in layers}
        backward = []
        works = step.works()
        handles = [
            layer.register_forward_hook(lambda layer, inputs, output: calls[layer].append(inputs[0]))
            for layer in layers
        ]
        handles += [layer.register_full_backward_hook(lambda *_: backward.append(1)) for layer in layers]
        works['floor']()
        assert len(layers) > 5
        assert all(len(inputs) == 2 for inputs in calls.values()), 'once a view'
        assert len(backward) == 2 * len(layers)
        first, later = layers[0], layers[1]
        assert not any(x.requires_grad for x in calls[first]), 'images need no gradient'
        assert all(x.requires_grad and x.shape[0] == 4 for x in calls[later])
        for handle in handles:
            handle.remove()
        alone = convolutions_alone(step._forward_student, lambda: None, step.model, step._autocast)
        alone()

    drive(recipe, tmp_path, protocol)


def test_reading_alone_leaves_the_runs_iterator_where_it_stands(recipe, tmp_path):
    def protocol(runner):
        yield 2
        loader = another_loader(runner.train_dataloader)
        assert loader.dataset is runner.train_dataloader.dataset
        path = DataPath(runner.train_dataloader, lambda batch: batch, Clock(torch.device('cpu')), seconds=0.01)
        assert 0 < path.measure() < 1
        before = runner.iter
        yield 1
        assert runner.iter == before + 2

    drive(recipe, tmp_path, protocol)


@pytest.mark.parametrize('workers', [0, 1])
def test_step_times_add_up(recipe, workers):
    overrides = {'train_dataloader.num_workers': workers, 'train_dataloader.persistent_workers': bool(workers)}
    times = time_step(Options(recipe, random_weights=True, overrides=overrides), repeats=2, seconds=0.05)
    assert times.batch_size == 4
    assert times.images_per_second.median == pytest.approx(4 / times.loop.median, rel=0.4)
    assert set(times.parts) == set(PARTS)
    assert sum(times.shares.values()) == pytest.approx(1)
    assert times.loop.low <= times.loop.median <= times.loop.high
    assert times.pil_ratio.median > 0
    assert times.peak_memory > 50 * 2**20
    record = times.to_dict()
    assert record['seconds']['loop']['median'] == times.loop.median
    assert record['times_the_floor'] == pytest.approx(times.loop.median / times.floor.median)


def test_a_run_without_teacher_or_pillow_way(recipe):
    overrides = {
        'model.distiller': dict(type='CrossEntropy', _delete_=True),
        'model.data_preprocessor.views.strong': [],
    }
    times = time_step(Options(recipe, random_weights=True, overrides=overrides), repeats=1, seconds=0.05)
    assert 'teacher' not in times.parts
    assert times.pil_pair is None
    assert times.to_dict()['pil_ratio'] is None
