"""What the tests of every distiller share: reference rows, batches with all that a distiller asks for, checks.

``distiller, batch = prepared(FitNet(), 6, 5)`` stands where a training stands after its first step;
``distiller(*batch.predictions())`` is the next one.

The oracles are written with Python's floats and loops, from the formulas, and share nothing with the package.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from crld_zoo.distillers import Distiller, Networks, PairDistiller, Prediction, Progress, TrainingData
from crld_zoo.errors import InputError
from crld_zoo.networks import Taps, final_classifier, pre_activation_norms

ROWS = [
    row
    for path in sorted((Path(__file__).parents[1] / 'data').glob('*.json'))
    for row in json.loads(path.read_text(encoding='utf-8'))
    if 'method' in row and 'params' in row
]
SHAPES = [(1, 2), (1, 7), (8, 2), (4, 3), (3, 50)]
"""Batches ``(N, K)`` of shapes that no reference row has."""

Row = Sequence[float]
Views = dict[str, Prediction]


def golden(method: str) -> list:
    """The reference rows of a method, as parameters of a test."""
    rows = [row for row in ROWS if row['method'] == method]
    assert rows, f'no reference row of {method}'
    return [
        pytest.param(row, id='-'.join(map(str, row['params'].values())) or str(number))
        for number, row in enumerate(rows)
    ]


def close(actual: Tensor, expected: Tensor | Row | float, rtol: float = 1e-8) -> None:
    """Equality to ``rtol``; the stored gradients have 12 digits, so nothing below 1e-11 counts."""
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual.detach(), expected.detach(), rtol=rtol, atol=1e-11)


def leaf(values: Tensor | list) -> Tensor:
    """A float64 tensor that collects its gradient."""
    return torch.as_tensor(values, dtype=torch.float64).clone().requires_grad_()


def total(losses: dict[str, Tensor]) -> Tensor:
    """What MMEngine minimizes: the sum of every entry whose name contains ``loss``."""
    return sum(value for name, value in losses.items() if 'loss' in name)


def random_batch(
    n: int, k: int, *, seed: int = 0, dtype: torch.dtype = torch.float64, scale: float = 2.0
) -> tuple[Views, Views, Tensor]:
    """Predictions of both networks on both views, all four different, and targets; only the student's have a gradient.

    The teacher's scale differs between samples, so that it is sure of some and unsure of others.
    """
    generator = torch.Generator().manual_seed(1000 * n + k + seed)

    def logits(scales: Tensor) -> Tensor:
        return (scales * torch.randn(n, k, generator=generator, dtype=torch.float64)).to(dtype)

    sure = torch.linspace(0.2, 3 * scale, n, dtype=torch.float64)[:, None]
    one = torch.full((n, 1), scale, dtype=torch.float64)
    student = {view: Prediction(logits(one).requires_grad_()) for view in ('weak', 'strong')}
    teacher = {view: Prediction(logits(sure)) for view in ('weak', 'strong')}
    return student, teacher, torch.randint(k, (n,), generator=generator)


class TinyNetwork(nn.Module):
    """Four stages of two convolutions, 16 to 2 pixels wide, and a linear layer after the mean."""

    def __init__(self, widths: Sequence[int], num_classes: int) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

        self.stages = nn.Sequential(
            *(
                nn.Sequential(*block(before, width, 1 if number == 0 else 2), *block(width, width, 1))
                for number, (before, width) in enumerate(itertools.pairwise((3, *widths)))
            )
        )
        self.fc = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.stages(images).mean((2, 3)))


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """What is drawn at random on the CPU is drawn from seed 0; ``torch.manual_seed`` costs a millisecond."""
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(0)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


IMAGE = (3, 16, 16)


def stated(method: type[Distiller], what: str, default=None):
    """What the test module of a method states, see :mod:`.cases`."""
    if not method.__module__.startswith('crld_zoo.'):
        return default
    module = f'{__package__}.test_{method.__module__.rpartition(".")[2]}'
    return getattr(importlib.import_module(module), what, default) if importlib.util.find_spec(module) else default


def networks(num_classes: int, distiller: Distiller | None = None) -> Networks:
    """A student, of the method's own kind where its tests state one, and a wider teacher."""
    held = () if distiller is None else distiller.modules()
    methods = [type(each) for each in held if isinstance(each, Distiller)]
    own = next(filter(None, (stated(method, 'STUDENT') for method in methods)), TinyNetwork)
    return _networks(own, num_classes)


@functools.cache
def _networks(kind: type[TinyNetwork], num_classes: int) -> Networks:
    with seeded():
        student, teacher = kind((4, 6, 8, 8), num_classes).eval(), TinyNetwork((6, 8, 12, 16), num_classes).eval()
    images = torch.zeros(2, *IMAGE)
    return Networks(
        student, teacher, lambda: pre_activation_norms(teacher, images), lambda: final_classifier(teacher, images)
    )


@functools.cache
def feature_shape(network: nn.Module, tap: str) -> tuple[int, ...]:
    """The shape of a tap, without the batch."""
    images = torch.zeros(2, *IMAGE)
    with torch.no_grad():
        return tuple(Taps(network, [tap], images).run(network, images)[1][tap].shape[1:])


Leaves = dict[str, dict[str, Tensor]]
"""What the predictions of a network are made from: by view, then ``'logits'``, ``'images'`` or the name of a tap."""


@dataclasses.dataclass
class Batch:
    """Predictions that can be made again from other leaves: rows of them, another type, one without its graph.

    Attributes:
        student: Collect gradients.
        teacher: Have no gradient, but for the images.
        target: Class indices ``(N,)``.
        samples: Numbers of the samples, ``(N,)``.
        rows: How many rows a sample has, by view; 1 where nothing is said.
    """

    student: Leaves
    teacher: Leaves
    target: Tensor
    samples: Tensor
    rows: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def predictions(self) -> tuple[Views, Views, Tensor]:
        """The arguments of a distiller."""
        return self.views('student'), self.views('teacher'), self.target

    def views(self, side: str) -> Views:
        return {view: _prediction(leaves, self.samples) for view, leaves in getattr(self, side).items()}

    def map(self, change: Callable[[Tensor, str, str], Tensor], sides: Sequence[str] = ('student', 'teacher')) -> Batch:
        """The batch with every leaf changed by ``change(leaf, view, name)``; what collected gradients does so again."""
        return dataclasses.replace(
            self,
            **{
                side: {
                    view: {
                        name: change(leaf.detach(), view, name).clone().requires_grad_(leaf.requires_grad)
                        for name, leaf in leaves.items()
                    }
                    for view, leaves in getattr(self, side).items()
                }
                for side in sides
            },
        )

    def __getitem__(self, rows: slice) -> Batch:
        """Some of the samples."""

        def own(leaf: Tensor, view: str, name: str) -> Tensor:
            return leaf.unflatten(0, (-1, self.rows.get(view, 1)))[rows].flatten(0, 1)

        return dataclasses.replace(self.map(own), target=self.target[rows], samples=self.samples[rows])

    def to(self, dtype: torch.dtype) -> Batch:
        """The logits in a type, all else at least in fp32, as networks' predictions reach a distiller."""
        wide = dtype if dtype == torch.float64 else torch.float32
        return self.map(lambda leaf, view, name: leaf.to(dtype if name == 'logits' else wide))

    def gradients(self, side: str = 'student') -> dict[tuple[str, str], Tensor | None]:
        """The gradient of each leaf by view and name, without those of the images."""
        return {
            (view, name): leaf.grad
            for view, leaves in getattr(self, side).items()
            for name, leaf in leaves.items()
            if name != 'images'
        }


def _prediction(leaves: dict[str, Tensor], samples: Tensor) -> Prediction:
    logits, features, images = leaves['logits'], {}, leaves.get('images')
    if images is not None:  # the logits depend on the images, and not in a straight line
        pixels = images.flatten(1)
        weight = torch.linspace(-1, 1, pixels.shape[1] * logits.shape[1], dtype=pixels.dtype).sin()
        with torch.autocast('cpu', enabled=False):  # this is the network: how it rounds is no matter of the distiller
            logits = logits + (pixels @ weight.view(-1, logits.shape[1])).tanh()
    for tap, leaf in leaves.items():
        if tap.startswith('class_maps'):  # the logits are their mean
            features[tap] = logits[:, :, None, None] + (leaf - leaf.mean((2, 3), keepdim=True))
        elif tap not in ('logits', 'images'):
            features[tap] = leaf
    return Prediction(logits, features, images, samples.repeat_interleave(len(logits) // len(samples)))


def random_predictions(
    distiller: Distiller,
    n: int,
    k: int,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    scale: float = 2.0,
    rows: Mapping[str, int] | None = None,
) -> Batch:
    """Predictions with all that a distiller reads: its taps, images and sample numbers, on its views and both common.

    Logits are as in :func:`random_batch`; maps after an activation are not negative.
    """
    rows, samples = rows or {}, (torch.arange(n) * 7 + seed) % SIZE
    built = networks(k, distiller)
    generator = torch.Generator().manual_seed(1000 * n + k + seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def leaves(side: str, view: str, taps: Sequence[str]) -> dict[str, Tensor]:
        n_rows = n * rows.get(view, 1)
        scales = torch.linspace(0.2, 3 * scale, n_rows)[:, None] if side == 'teacher' else scale
        made = {'logits': scales * normal(n_rows, k)}
        for tap in taps:
            value = normal(n_rows, *feature_shape(getattr(built, side), tap))
            made[tap] = value if tap.endswith(':pre') or tap.startswith('class_maps') else value.abs()
        return made

    views = dict.fromkeys(('weak', 'strong', *distiller.student_views, *distiller.teacher_views))
    student = {view: leaves('student', view, distiller.student_taps) for view in views}
    teacher = {view: leaves('teacher', view, distiller.teacher_taps) for view in views}
    batch = Batch(student, teacher, labels(k)[samples], samples, rows).to(dtype)
    for each in batch.student.values():
        for leaf in each.values():
            leaf.requires_grad_()
    if distiller.needs_images:
        for view in views:
            images = normal(n * rows.get(view, 1), *IMAGE).to(next(iter(batch.student[view].values())).dtype)
            batch.student[view]['images'] = batch.teacher[view]['images'] = images.requires_grad_()
    return batch


SIZE = 61
"""How many samples the training set has, of which the tests' batches are."""


def labels(k: int) -> Tensor:
    """The label of each sample number; all classes occur."""
    return torch.arange(SIZE) * 23 % k


def prepared(
    distiller: Distiller,
    n: int,
    k: int,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    scale: float = 2.0,
    rows: Mapping[str, int] | None = None,
    epoch: int = 240,
    steps: int = 1,
) -> tuple[Distiller, Batch]:
    """A distiller as it stands in a training, and the next batch.

    It was set up with a probe of two images and two small networks, connected with a training set, told the epoch,
    and has seen ``steps`` batches. Its parameters are of the batch's type, at least fp32.
    """
    with seeded():
        probe = random_predictions(distiller, 2, k, seed=seed + 50, dtype=torch.float32, rows=rows)
        with torch.no_grad():
            student, teacher, _ = _detached(probe)
            distiller.setup(student, teacher if distiller.needs_teacher else {}, networks(k, distiller))
            distiller.connect(TrainingData(SIZE, k, labels(k)))
        distiller.to(dtype if dtype == torch.float64 else torch.float32)
    begin(distiller, epoch)
    for step in range(steps):
        batch = random_predictions(distiller, n, k, seed=seed + 60 + step, dtype=dtype, scale=scale, rows=rows)
        observe(distiller, batch)
    return distiller, random_predictions(distiller, n, k, seed=seed, dtype=dtype, scale=scale, rows=rows)


def losses(distiller: Distiller, batch: Batch) -> dict[str, Tensor]:
    """The losses of a batch; what is random in them is drawn from seed 0."""
    with seeded():
        return distiller(*needed(distiller, batch.predictions()))


def pair(distiller: PairDistiller, batch: Batch, student_view: str = '', teacher_view: str = '') -> Tensor:
    """The pair loss ``(N,)`` of a batch, of the distiller's own views unless others are named."""
    student, teacher, target = batch.predictions()
    student_view, teacher_view = student_view or distiller.student_view, teacher_view or distiller.teacher_view
    with seeded():
        return distiller.pair(student[student_view], teacher[teacher_view], target)


def observe(distiller: Distiller, batch: Batch) -> None:
    """Show it a step, as a training does: the forward pass, then what was predicted."""
    losses(distiller, batch)
    with torch.no_grad():
        distiller.observe(*needed(distiller, _detached(batch)))


def statistics(distiller: Distiller) -> set[str]:
    """The buffers of batch norms, which follow a rule of their own."""
    return {
        f'{path}.{name}' if path else name
        for path, module in distiller.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase)
        for name, _ in module.named_buffers(recurse=False)
    }


def _detached(batch: Batch) -> tuple[Views, Views, Tensor]:
    student, teacher, target = batch.predictions()
    return (
        *(
            {
                view: Prediction(
                    p.logits.detach(), {tap: f.detach() for tap, f in p.features.items()}, samples=p.samples
                )
                for view, p in predictions.items()
            }
            for predictions in (student, teacher)
        ),
        target,
    )


def needed(distiller: Distiller, predictions: tuple[Views, Views, Tensor]) -> tuple[Views, Views, Tensor]:
    """The arguments of a distiller, without the teacher where none runs."""
    student, teacher, target = predictions
    return student, teacher if distiller.needs_teacher else {}, target


# The checks that each method's file runs.


def check_golden_row(row: dict, loss: Callable[..., Tensor], distiller: Callable[..., PairDistiller]) -> None:
    """The function and the distiller reproduce a reference row: the batch's mean and the student's gradient."""
    teacher, target = torch.tensor(row['logits_teacher'], dtype=torch.float64), torch.tensor(row['target'])
    module = begin(distiller(**row['params'], ce_weight=0, kd_weight=1), 240)
    for value in (
        lambda student: _with_target(loss)(student, teacher, target, **row['params']).mean(),
        lambda student: total(module(_views(student), _views(teacher), target)),
    ):
        student = leaf(row['logits_student'])
        result = value(student)
        result.backward()
        close(result, row['loss'])
        close(student.grad, row['grad_student'])


def check_golden_views(row: dict, distiller: Distiller) -> None:
    """A distiller of two views reproduces a reference row: every term, their total and both gradients."""
    student = {view: Prediction(leaf(row[f'student_{view}'])) for view in ('weak', 'strong')}
    teacher = {
        view: Prediction(torch.tensor(row[f'teacher_{view}'], dtype=torch.float64)) for view in ('weak', 'strong')
    }
    losses = begin(distiller, 240)(student, teacher, torch.tensor(row['target']))
    for name, expected in row['losses'].items():
        close(losses[name if name.startswith('loss_') else f'loss_{name}'], expected)
    close(total(losses), row['total'])
    total(losses).backward()
    for view in ('weak', 'strong'):
        close(student[view].logits.grad, row[f'grad_student_{view}'])


def check_oracle(loss: Callable[..., Tensor], oracle: Callable[..., float], **options) -> None:
    """The loss of each sample equals ``oracle(student row, teacher row, target, **options)`` on other shapes."""
    for n, k in SHAPES:
        student, teacher, target = random_batch(n, k)
        actual = _with_target(loss)(student['weak'].logits, teacher['weak'].logits, target, **options)
        expected = [
            oracle(s, t, y, **options)
            for s, t, y in zip(
                student['weak'].logits.tolist(), teacher['weak'].logits.tolist(), target.tolist(), strict=True
            )
        ]
        close(actual, expected, rtol=1e-10)


def check_defaults(
    distiller: PairDistiller, loss: Callable[..., Tensor], *, ce_weight: float, kd_weight: float, **options
) -> None:
    """A distiller with no option given uses the published ones: weighted cross-entropy plus weighted mean loss."""
    student, teacher, target = random_batch(8, 6)
    losses = begin(distiller, 240)(student, teacher, target)
    s, t = student['weak'].logits, teacher['weak'].logits
    label_loss = sum(-math.log(softmax(row)[y]) for row, y in zip(s.tolist(), target.tolist(), strict=True)) / 8
    assert losses.keys() == {'loss_ce', 'loss_kd'}
    close(losses['loss_ce'], ce_weight * label_loss)
    close(losses['loss_kd'], kd_weight * _with_target(loss)(s, t, target, **options).mean())


def check_warmup(distiller: Callable[[int], PairDistiller]) -> None:
    """The pair loss is scaled by ``min(epoch / warmup, 1)``, the epoch counted from 1; outside of a training by 1."""
    student, teacher, target = random_batch(4, 5)

    def pair_loss(warmup: int, epoch: int | None = None) -> Tensor:
        module = distiller(warmup)
        module.eval() if epoch is None else begin(module, epoch)
        return module.pair(student['weak'], teacher['weak'], target)

    full = pair_loss(20)
    close(pair_loss(0), full)
    for epoch, factor in ((1, 0.05), (3, 0.15), (20, 1.0), (21, 1.0), (240, 1.0)):
        close(pair_loss(20, epoch), factor * full, rtol=1e-7)  # the factor is kept in fp32
    close(pair_loss(0, 1), full)
    close(pair_loss(1, 1), full)
    with pytest.raises(
        InputError, match=r'has a warm-up of 20 epochs and was never told the epoch: call distiller.begin'
    ):
        distiller(20).pair(student['weak'], teacher['weak'], target)


def begin(distiller: Distiller, epoch: int, epochs: int = 240) -> Distiller:
    """Tell a distiller that the training stands at an epoch, counted from 1; it is given back."""
    distiller.begin(Progress(epoch, 10 * (epoch - 1), epochs, 10 * epochs))
    return distiller


def _views(logits: Tensor) -> Views:
    return {'weak': Prediction(logits)}


def _with_target(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss as a function of student, teacher and target, whether or not it reads the target."""
    if 'target' in inspect.signature(loss).parameters:
        return loss
    return lambda student, teacher, _, **options: loss(student, teacher, **options)


# Naive arithmetic for the oracles: one row of floats at a time.


def softmax(row: Row, temperature: float = 1.0) -> list[float]:
    powers = [math.exp(z / temperature) for z in row]
    return [power / sum(powers) for power in powers]


def others(row: Row, target: int) -> list[float]:
    return [z for k, z in enumerate(row) if k != target]


def kl(p: Row, q: Row) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def spread(row: Row) -> float:
    """The unbiased standard deviation."""
    mean = sum(row) / len(row)
    return math.sqrt(sum((z - mean) ** 2 for z in row) / (len(row) - 1))


def logits_of(*probabilities: Row) -> Tensor:
    """Logits whose softmax at temperature 1 is what is given: one row each."""
    return torch.tensor(probabilities, dtype=torch.float64).log()
