"""Losses replayed from a recording are those of an ordinary step; what no recording can hold is refused."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from crld_zoo.distillers import Progress
from crld_zoo.errors import InputError
from crld_zoo.models import LossGraphs
from crld_zoo.registry import DISTILLERS, MODELS
from crld_zoo.views import RandAugment, SampleKeys

from ..small_run import CLASSES, PREPROCESSOR, SCHEDULED, SIZE, VIEW, train
from ..test_distillers.cases import READS_VALUES, default_config, said
from ..test_distillers.test_simkd import HEAD

SIMPLE = dict(PREPROCESSOR, views=dict(weak=VIEW, strong=VIEW))


@pytest.fixture(autouse=True)
def _views_as_on_a_gpu(monkeypatch):
    """On the CPU RandAugment sorts images by what they drew, which is a decision of Python's; the pixels are equal."""
    monkeypatch.setattr(RandAugment, '_by_group', RandAugment._by_mask)


def record_operators(function, arguments: tuple, allow_unused_input: bool):
    """A recording of PyTorch's operators, forward and backward, as a CUDA graph is one of kernels: a replay runs them
    on the same memory, and no Python that stood between them."""
    assert allow_unused_input
    (static,) = arguments
    leaves, form = tree_flatten(static)
    parameters = [parameter for parameter in function.parameters() if parameter.requires_grad]
    names = []

    def step(*leaves):
        losses = function(tree_unflatten(leaves, form))
        names[:] = losses
        total = sum(loss for name, loss in losses.items() if 'loss' in name)
        return [*losses.values(), *torch.autograd.grad(total, parameters, allow_unused=True)]

    step(*leaves)  # a capture is preceded by calls
    recorded = make_fx(step)(*leaves)

    class Replay(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *_):
            losses_and_gradients = recorded(*leaves)
            ctx.gradients = losses_and_gradients[len(names) :]
            return tuple(losses_and_gradients[: len(names)])

        @staticmethod
        def backward(ctx, *gradients):
            assert all(bool(own == ('loss' in name)) for name, own in zip(names, gradients, strict=True))
            return tuple(ctx.gradients)

    def replay(batch):
        for place, new in zip(leaves, tree_leaves(batch), strict=True):
            place.copy_(new)
        return dict(zip(names, Replay.apply(*parameters), strict=True))

    return replay


def build(distiller: dict, graph: bool = True, **options):
    torch.manual_seed(0)
    network = student = dict(model='crld_zoo::resnet8', num_classes=CLASSES)
    if distiller['type'] == 'SimKD':
        student = dict(network, head=HEAD)
    elif own := said(distiller['type'], 'STUDENT', None):
        student = own((4, 4, 8, 8), CLASSES)
    model = MODELS.build(
        dict(
            type='Distillation',
            student=student,
            teacher=dict(**network, checkpoint='random'),
            distiller=copy.deepcopy(distiller),
            **{'data_preprocessor': PREPROCESSOR, 'graph': graph, **options},
        )
    ).train()
    if graph:
        model._graphs.module.record = record_operators
    return model


def batch(count: int, first: int, epoch: int = 0) -> dict:
    generator = torch.Generator().manual_seed(first)
    images = torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    samples = torch.arange(first, first + count)
    return dict(
        inputs=images,
        data_samples=samples % CLASSES,
        keys=SampleKeys(seed=0, epoch=epoch, samples=samples, copies=torch.zeros_like(samples)),
    )


def step(model, data: dict, progress: Progress) -> tuple[dict, list]:
    torch.manual_seed(progress.iteration)  # as the training loops do
    model.distiller.begin(progress)
    model.zero_grad()
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    model.parse_losses(losses)[0].backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return {name: loss.detach() for name, loss in losses.items()}, gradients


def capturable() -> dict[str, dict]:
    DISTILLERS.import_from_location()
    names = [name for name, kind in sorted(DISTILLERS.module_dict.items()) if kind.__module__.startswith('crld_zoo')]
    cases = {name: default_config(name) for name in names if not said(name, 'ROWS', {})}
    cases['MGD']['taps'] = ('stage3',)  # the last one of these networks
    further = dict(type='CRLD', distiller=dict(type='MLLD'))
    return {**cases, 'CRLD of DKD with a warm-up': SCHEDULED, 'CRLD of MLLD': further}


CASES = capturable()


@pytest.mark.parametrize('name', CASES)
def test_a_replay_is_the_step_of_every_distiller(name):
    """On another batch, in another epoch: nothing that changes was decided at the recording."""
    if name in READS_VALUES:
        pytest.skip('it looks at a value, which cannot be recorded')
    try:
        recorded = build(CASES[name], data_preprocessor=SIMPLE)
    except InputError as error:
        assert 'leave model.graph out' in str(error)
        pytest.skip(str(error))
    ordinary = build(CASES[name], graph=False, data_preprocessor=SIMPLE)
    ordinary.distiller.load_state_dict(recorded.distiller.state_dict())
    for number, count in enumerate((4, 4, 4)):
        progress = Progress(epoch=1 + 5 * number, iteration=10 * number, epochs=40, iterations=80)
        losses, gradients = step(recorded, batch(count, 10 * number, number), progress)
        expected, own = step(ordinary, batch(count, 10 * number, number), progress)
        assert losses.keys() == expected.keys()
        for loss in losses:
            assert torch.equal(losses[loss], expected[loss]), (number, loss)
        for one, other in zip(gradients, own, strict=True):
            # what autograd adds up may come in another order
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6, msg=lambda text, at=number: f'{at}: {text}')
    for one, other in zip(recorded.buffers(), ordinary.buffers(), strict=True):
        assert torch.equal(one, other), 'batch statistics count each step once'


def record(runner) -> None:
    runner.model._graphs.module.record = record_operators


def test_a_run_from_recordings_is_the_run(tmp_path):
    """Two epochs, each with a smaller last batch, a warm-up and a learning rate that falls; the last bit is equal."""
    losses, weights = train(tmp_path / 'recorded', change=record, **{'model.graph': True})
    expected, own = train(tmp_path / 'ordinary')
    assert len(losses) == 12 and losses == expected, [*zip(losses, expected, strict=True)]
    assert all(torch.equal(value, own[name]) for name, value in weights.items())


def test_a_cache_is_read_outside(tmp_path):
    """The teacher's logits are an input of the recording, kept or not."""
    options = {'model.teacher.cache': str(tmp_path / 'kept')}
    first, _ = train(tmp_path / 'first', change=record, **options, **{'model.graph': True})
    again, _ = train(tmp_path / 'again', change=record, **options, **{'model.graph': True})
    expected, _ = train(tmp_path / 'ordinary', **options)
    assert first == again == expected


class _Transfers(TorchDispatchMode):
    """Counts the copies between the CPU and another device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((args, kwargs, result)) if isinstance(each, torch.Tensor)]
        if len({each.device for each in tensors if each.dim()}) > 1 or 'item' in str(func):
            self.found.append(str(func))
        return result


@pytest.mark.parametrize('name', [name for name in CASES if 'CRLD' in name or name in ('KD', 'DKD', 'MLLD', 'FitNet')])
def test_a_step_asks_the_cpu_for_nothing(name, monkeypatch):
    """On a device whose tensors have no values: what needs one, or brings one over, cannot be in a CUDA graph."""
    monkeypatch.setattr(torch, 'autocast', lambda *_, **__: contextlib.nullcontext())  # which that device has not
    model = build(CASES[name])
    model.distiller.begin(Progress(epoch=2, iteration=10, epochs=40, iterations=80))
    model.to('meta')
    drawn = model.data_preprocessor(batch(4, 0), True)
    data = dict(drawn['inputs']._asdict(), target=drawn['data_samples'], samples=drawn['keys'].samples)
    with _Transfers() as transfers:
        losses = model.losses_of_tensors(tree_map(lambda part: part.to('meta'), data))
        sum(loss for name, loss in losses.items() if 'loss' in name).backward()
    assert transfers.found == []
    with _Transfers() as transfers:
        torch.ones(3).to('meta')
    assert transfers.found, 'a copy would be seen'


@pytest.mark.parametrize(
    ('distiller', 'options', 'reason'),
    [
        (dict(type='CRLD', distiller=dict(type='CRD')), {}, 'keeps what it saw of each step'),
        (dict(type='KD'), {'compile': dict(mode='reduce-overhead')}, 'captures graphs of its own'),
        (dict(type='KD'), {'teacher': {'compile': dict(mode='max-autotune')}}, 'captures graphs of its own'),
    ],
)
def test_what_cannot_be_captured_is_refused(distiller, options, reason):
    network = dict(model='crld_zoo::resnet8', num_classes=CLASSES)
    teacher = dict(**network, checkpoint='random', **options.pop('teacher', {}))
    with pytest.raises(InputError, match=f'{reason}.*leave model.graph out'):
        MODELS.build(
            dict(
                type='Distillation',
                student=network,
                teacher=teacher,
                distiller=distiller,
                data_preprocessor=PREPROCESSOR,
                graph=True,
                **options,
            )
        )


def test_graphs_need_a_gpu():
    model = build(dict(type='KD'))
    model._graphs.module.record = None
    with pytest.raises(InputError, match='the model is on the CPU: leave model.graph out'):
        step(model, batch(4, 0), Progress(epoch=1, iteration=0, epochs=1, iterations=1))


def test_what_stops_a_capture_is_said():
    def fails(*_, **__):
        raise RuntimeError('operation not permitted when stream is capturing\nand more')

    graphs = LossGraphs(lambda batch: batch, record=fails)
    with pytest.raises(InputError, match='cannot hold this step .operation not permitted.*: leave model.graph out'):
        graphs(dict(target=torch.zeros(1)))


@pytest.mark.cuda
@pytest.mark.parametrize('amp', [False, True])
def test_a_run_from_graphs_is_the_run(tmp_path, amp):
    """Kernels of cuDNN may differ in their order of summing, so losses agree to a part in a hundred over two epochs."""
    options = {'optim_wrapper.type': 'Bf16OptimWrapper' if amp else 'OptimWrapper'}
    losses, weights = train(tmp_path / 'graphs', **options, **{'model.graph': True})
    expected, own = train(tmp_path / 'ordinary', **options)
    for one, other in zip(losses, expected, strict=True):
        assert one == pytest.approx(other, rel=0.05 if amp else 0.01, abs=1e-3)
    for name, value in weights.items():
        torch.testing.assert_close(value, own[name], rtol=0.1, atol=0.02)


@pytest.mark.cuda
def test_graphs_with_a_cache(tmp_path):
    options = {'model.teacher.cache': str(tmp_path / 'kept'), 'model.graph': True}
    first, _ = train(tmp_path / 'first', **options)
    again, _ = train(tmp_path / 'again', **options)
    for one, other in zip(first, again, strict=True):
        assert one == pytest.approx(other, rel=0.01, abs=1e-3)
