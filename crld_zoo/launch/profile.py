"""What trained students and their teachers cost: parameters, FLOPs, size, latency, throughput."""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.registry import DefaultScope
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from crld_zoo.errors import InputError
from crld_zoo.evaluation.functional import topk_accuracy

from .config import teacher_of
from .export import export
from .extras import required
from .student import Student, load_student, log_to_stderr

BATCHES = (1, 4, 16, 64, 256)
"""The batches among which the one of the highest throughput is looked for."""


class Cost(NamedTuple):
    """What one network costs.

    Attributes:
        name: Of the run, and whether it is its student or its teacher.
        runtime: ``'torch'`` or ``'onnxruntime'``.
        parameters: How many it has.
        flops: Floating-point operations of one image, a multiplication and an addition counted as two; of
            convolutions, matrix products and attention.
        bytes: Of its weights on disk.
        latency: Seconds of a batch of one image, the median.
        throughput: Images a second at ``batch``.
        batch: The batch of the highest throughput.
        accuracy: Top-1 in percent on the test set, None where it was not measured.
    """

    name: str
    runtime: str
    parameters: int
    flops: int
    bytes: int
    latency: float
    throughput: float
    batch: int
    accuracy: float | None = None


def count_flops(network: nn.Module, images: Tensor) -> int:
    """Floating-point operations of one image of a batch; a multiplication and an addition are two.

    >>> count_flops(nn.Linear(8, 4, bias=False), torch.zeros(2, 8))
    64
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    return counter.get_total_flops() // len(images)


def size_of(student: Student) -> dict[str, int]:
    """A student's ``parameters``, and the ``flops`` of one image."""
    parameters = list(student.network.parameters())
    return dict(
        parameters=sum(parameter.numel() for parameter in parameters),
        flops=count_flops(student.network, torch.zeros(1, 3, *student.size, device=parameters[0].device)),
    )


def time_batches(run: Callable[[Tensor], object], images: Tensor, seconds: float) -> tuple[float, float, int]:
    """Latency in seconds of one image, and the highest throughput in images a second with its batch.

    Args:
        run: Runs a batch.
        images: One image, ``(1, …)``.
        seconds: How long each batch is measured.
    """
    latencies: list[float] = []
    best = (0.0, 0)
    for size in BATCHES:
        batch = images.expand(size, *images.shape[1:]).contiguous()
        timer = Timer('run(batch)', globals=dict(run=run, batch=batch), num_threads=torch.get_num_threads())
        measured = timer.blocked_autorange(min_run_time=seconds).median
        latencies.append(measured)
        best = max(best, (size / measured, size))
    return latencies[0], *best


def profile(student: Student, name: str, *, seconds: float = 0.5, accuracy: bool = True) -> list[Cost]:
    """What a student costs, in torch and where it is installed in onnxruntime, and its teacher in torch.

    Args:
        student: As :func:`~crld_zoo.launch.student.load_student` gives it.
        name: How the table calls its run.
        seconds: How long each batch is measured.
        accuracy: Measure the student's on the test set.
    """
    top1 = 100 * topk_accuracy(*student.outputs(split='test')) if accuracy else None
    device = next(student.network.parameters()).device
    images = torch.rand(1, 3, *student.size, device=device)
    costs = [_cost(f'{name} student', student.network, images, seconds, top1)]
    if _is_installed('onnx', 'onnxscript', 'onnxruntime'):
        costs.append(costs[0]._replace(runtime='onnxruntime', **_time_onnx(student, images.cpu(), seconds)))
    for number, teacher in enumerate(teachers_of(student)):
        label = f'{name} teacher{f" {number + 1}" if number else ""}'
        costs.append(_cost(label, teacher.to(device).eval(), images, seconds))
    return costs


def teachers_of(student: Student) -> list[nn.Module]:
    """The teachers of a run with random weights, which cost the same; no file is looked for."""
    from crld_zoo.models import Distillation  # noqa: F401  registers
    from crld_zoo.registry import MODELS

    teacher = teacher_of(student.config)
    if not teacher:
        return []
    members = teacher.get('teachers', [teacher]) if isinstance(teacher, dict) else [teacher]
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        return [
            MODELS.build(
                {
                    'type': 'Teacher',
                    **(copy.deepcopy(member) if isinstance(member, dict) and 'model' in member else {'model': member}),
                    'checkpoint': 'random',
                    'compile': None,
                }
            )
            for member in members
        ]


def _cost(name: str, network: nn.Module, images: Tensor, seconds: float, accuracy: float | None = None) -> Cost:
    tensors = {value.data_ptr(): value for value in network.state_dict().values()}
    with torch.inference_mode():
        latency, throughput, batch = time_batches(network, images, seconds)
    return Cost(
        name,
        'torch',
        sum(parameter.numel() for parameter in network.parameters()),
        count_flops(network, images),
        sum(value.nbytes for value in tensors.values()),
        latency,
        throughput,
        batch,
        accuracy,
    )


def _time_onnx(student: Student, images: Tensor, seconds: float) -> dict:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'student.onnx')
        export(student, 'onnx', path, images=16)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
        latency, throughput, batch = time_batches(
            lambda images: session.run(None, {'images': images.numpy()}), images, seconds
        )
        return dict(latency=latency, throughput=throughput, batch=batch, bytes=path.stat().st_size)


def _is_installed(*packages: str) -> bool:
    import importlib.util

    return all(importlib.util.find_spec(package) for package in packages)


def table(costs: Sequence[Cost]) -> Table:
    """The costs, a row each."""
    device = 'GPU' if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads'
    shown = Table(
        'network',
        'runtime',
        'parameters',
        'MFLOPs',
        'MB',
        'latency ms',
        'images/s',
        'at batch',
        'top-1 %',
        title=device,
    )
    for cost in costs:
        shown.add_row(
            cost.name,
            cost.runtime,
            f'{cost.parameters:,}',
            f'{cost.flops / 1e6:,.1f}',
            f'{cost.bytes / 1e6:.2f}',
            f'{1000 * cost.latency:.2f}',
            f'{cost.throughput:,.0f}',
            str(cost.batch),
            '-' if cost.accuracy is None else f'{cost.accuracy:.2f}',
        )
    return shown


def draw(costs: Sequence[Cost], path: str | Path) -> None:
    """A scatter plot of accuracy against latency, a point for each student and runtime.

    Raises:
        InputError: matplotlib is not installed, or no accuracy was measured.
    """
    matplotlib = required('matplotlib', 'report')
    matplotlib.use('Agg')
    from matplotlib import pyplot

    points = [cost for cost in costs if cost.accuracy is not None]
    if not points:
        raise InputError('there is no accuracy to draw: leave --no-accuracy out.')
    figure, axes = pyplot.subplots(figsize=(6, 4), layout='constrained')
    for runtime in sorted({cost.runtime for cost in points}):
        own = [(cost.latency, cost.accuracy) for cost in points if cost.runtime == runtime]
        latencies, accuracies = zip(*own, strict=True)
        axes.scatter([1000 * latency for latency in latencies], accuracies, label=runtime)
    for cost in points:
        axes.annotate(cost.name.removesuffix(' student'), (1000 * cost.latency, cost.accuracy), fontsize=7)
    axes.set(xlabel='latency of one image, ms', ylabel='top-1 on the test set, %')
    axes.legend()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``profile``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', metavar='RUN', help='work directories of trainings')
    parser.add_argument('--plot', metavar='FILE.png', help='draw accuracy against latency of all runs')
    parser.add_argument('--seconds', type=float, default=0.5, help='of measuring each batch (default: 0.5)')
    parser.add_argument('--no-accuracy', action='store_true', help='leave out the pass over the test set')
    args = parser.parse_args(argv)
    log_to_stderr()
    if args.plot:
        required('matplotlib', 'report')
    costs = []
    for run in args.runs:
        name = Path(run).resolve().name
        costs += profile(load_student(run), name, seconds=args.seconds, accuracy=not args.no_accuracy)
    if not _is_installed('onnx', 'onnxscript', 'onnxruntime'):
        print("onnxruntime was left out: pip install 'crld-zoo[export]'", file=sys.stderr)
    Console(width=None if sys.stdout.isatty() else 150).print(table(costs))
    if args.plot:
        draw(costs, args.plot)
        print(args.plot)
