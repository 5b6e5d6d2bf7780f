"""Where the time of one training step goes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image
from torch import Tensor

from crld_zoo.views.reference import pil_batch

from .loop import Protocol, run_loop
from .machine import peak_memory
from .reference import pil_options
from .setup import Options, build_or_explain, measured_config, set_tf32
from .stages import DataPath, StepParts
from .timing import Clock, Spread, Stages

PARTS = ('views', 'teacher', 'student', 'distiller', 'optimizer')
"""The parts of a step that are measured by themselves, in their order; waiting for data comes before them."""


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one step and of its parts, as the median over the repeats with the smallest and the largest.

    Attributes:
        batch_size: Images in a full batch.
        images_per_second: Of the Runner's loop.
        loop: One step of the Runner's loop, everything included.
        waiting: Of that, waiting for the loader.
        parts: Each of :data:`PARTS` by itself.
        data: Loading a batch with nothing else running.
        floor: The convolutions and linear layers of both networks alone.
        pair: Both views of a batch and their normalization, our way; None where Pillow knows no way to make them.
        pil_pair: The same with Pillow, image by image; likewise.
        pil_ratio: How many times as long Pillow takes; likewise.
        peak_memory: Bytes that the process held at most while it trained.
    """

    batch_size: int
    images_per_second: Spread
    loop: Spread
    waiting: Spread
    parts: dict[str, Spread]
    data: Spread
    floor: Spread
    pair: Spread | None
    pil_pair: Spread | None
    pil_ratio: Spread | None
    peak_memory: int

    @property
    def shares(self) -> dict[str, float]:
        """What share of the loop's step each part takes, from 0 to 1: the medians' ratio."""
        shares = {
            'waiting for data': self.waiting.median / self.loop.median,
            **{name: part.median / self.loop.median for name, part in self.parts.items()},
        }
        return {**shares, 'rest of the loop': 1 - sum(shares.values())}

    @property
    def times_the_floor(self) -> float:
        """How many times as long as the convolutions alone the loop's step takes."""
        return self.loop.median / self.floor.median

    def to_dict(self) -> dict:
        """For JSON."""

        def plain(spread: Spread | None) -> dict | None:
            return None if spread is None else spread._asdict()

        return dict(
            batch_size=self.batch_size,
            images_per_second=self.images_per_second._asdict(),
            seconds=dict(
                loop=plain(self.loop),
                waiting=plain(self.waiting),
                data=plain(self.data),
                floor=plain(self.floor),
                pair=plain(self.pair),
                pil_pair=plain(self.pil_pair),
                **{name: plain(part) for name, part in self.parts.items()},
            ),
            shares=self.shares,
            times_the_floor=self.times_the_floor,
            pil_ratio=plain(self.pil_ratio),
            peak_memory=self.peak_memory,
        )


def time_step(options: Options, repeats: int, seconds: float) -> StepTimes:
    """Time a recipe's step and its parts.

    Each repeat times a segment of the loop and then each part once, so that all meet the same disturbances.

    Args:
        options: What is measured.
        repeats: How often everything is measured.
        seconds: How long a segment of the loop lasts, about.

    Raises:
        InputError: The recipe cannot be measured.
    """
    found: dict[str, StepTimes] = {}

    def protocol(runner) -> Protocol:
        return _measure(runner, options.processor_time, repeats, seconds, found)

    set_tf32(options)
    with tempfile.TemporaryDirectory() as scratch:
        cfg = measured_config(options, Path(scratch))
        build_or_explain(lambda: run_loop(cfg, protocol, options.processor_time), options)
    return found['times']


def _measure(runner, processor_time: bool, repeats: int, seconds: float, found: dict) -> Protocol:
    device = next(runner.model.parameters()).device
    trial = yield 2
    steps = max(2, round(2 * seconds / trial.seconds))
    peak = peak_memory(device)
    step = StepParts(runner)
    clock = Clock(device, processor_time)
    works = step.works()
    works.update(_pairs(step))
    stages = Stages(works, clock)
    data = DataPath(runner.train_dataloader, runner.model.data_preprocessor.cast_data, clock)
    loops, rows = [], []
    for _ in range(repeats):
        loops.append((yield steps))
        rows.append({**stages.measure(), 'data': data.measure()})

    def spread(name: str) -> Spread:
        return Spread.of(row[name] for row in rows)

    found['times'] = StepTimes(
        batch_size=runner.train_dataloader.batch_sampler.batch_size,
        images_per_second=Spread.of(loop.images / loop.seconds for loop in loops),
        loop=Spread.of(loop.seconds / steps for loop in loops),
        waiting=Spread.of(loop.waiting / steps for loop in loops),
        parts={name: spread(name) for name in PARTS if name in rows[0]},
        data=spread('data'),
        floor=spread('floor'),
        pair=spread('pair') if 'pair' in rows[0] else None,
        pil_pair=spread('pil_pair') if 'pil_pair' in rows[0] else None,
        pil_ratio=(Spread.of(row['pil_pair'] / row['pair'] for row in rows) if 'pil_pair' in rows[0] else None),
        peak_memory=peak,
    )


def _pairs(step: StepParts) -> dict:
    """Making the same pair of views our way and with Pillow, both from uint8 to normalized floats."""
    preprocessor, images = step.preprocessor_of_all_views(), step.batch['inputs']
    options = pil_options(preprocessor)
    if options is None or not isinstance(images, Tensor):
        return {}
    pictures = [Image.fromarray(image) for image in images.permute(0, 2, 3, 1).cpu().numpy()]
    rng = Random(0)

    def pil_pair() -> dict[str, Tensor]:
        return {name: view.to(images.device) for name, view in pil_batch(pictures, rng, **options).items()}

    return dict(pair=lambda: preprocessor(dict(step.batch), True), pil_pair=pil_pair)
