"""Named views: what they compose, which random stream they follow, what they refuse."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from crld_zoo.errors import InputError, UnknownNameError
from crld_zoo.registry import VIEWS
from crld_zoo.views import PoolOperation, ViewOperation, Views
from crld_zoo.views.compose import stream_seed

from .conftest import noise

CROP_FLIP = [dict(type='RandomCrop', size=16, padding=2), dict(type='RandomFlip')]
PAIR = dict(weak=CROP_FLIP, strong=[*CROP_FLIP, dict(type='RandAugment'), dict(type='Cutout')])


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_views_of_a_batch():
    images = noise(50, 16, 16)
    result = Views(PAIR, seed=0)(images)
    assert list(result) == ['weak', 'strong']
    assert all(view.shape == images.shape and view.dtype == torch.uint8 for view in result.values())
    assert not result['weak'].is_inference()


def test_any_number_of_views_with_any_names():
    views = Views({'plain': [], 'second.crop': CROP_FLIP, 'type': CROP_FLIP}, seed=0)
    images = noise(50, 16, 16)
    result = views(images)
    assert list(result) == ['plain', 'second.crop', 'type'] and 'type' in views and 'weak' not in views
    assert torch.equal(result['plain'], images)
    assert result['plain'].data_ptr() != images.data_ptr()
    assert not torch.equal(result['second.crop'], result['type']), 'each view draws its own numbers'


def test_one_view_is_drawn_like_the_first():
    images = noise(20, 16, 16)
    both, alone = Views(PAIR, seed=3), Views(PAIR, seed=3)
    both.reseed(4), alone.reseed(4)
    assert torch.equal(both(images)['weak'], alone.view('weak', images))


def test_operations_in_the_order_of_the_config():
    class Double(ViewOperation):
        def transform(self, images, uniform):
            return images * 2

    class AddOne(ViewOperation):
        def transform(self, images, uniform):
            return images + 1

    steps = [dict(type=Double), dict(type=AddOne)]
    result = Views(dict(a=steps, b=steps[::-1]))(torch.full((1, 3, 2, 2), 5, dtype=torch.uint8))
    assert (result['a'] == 11).all() and (result['b'] == 12).all()


def test_stream_is_a_function_of_seed_and_iteration():
    images, views = noise(40, 16, 16), Views(PAIR, seed=1)
    stream = []
    for iteration in range(4):
        views.reseed(iteration)
        stream.append(views(images))
    assert not any(same(stream[0], other) for other in stream[1:])
    again = Views(PAIR, seed=1)
    again(noise(3, 30, 30))  # whatever was drawn before
    again.reseed(2)
    assert same(again(images), stream[2])
    other = Views(PAIR, seed=2)
    other.reseed(2)
    assert not same(other(images), stream[2])


def test_without_reseed_the_stream_goes_on():
    images, views, other = noise(40, 16, 16), Views(PAIR, seed=1), Views(PAIR, seed=1)
    first = views(images)
    assert same(first, other(images))
    assert not same(first, views(images))
    views.reseed(0)
    assert same(first, views(images))


def test_torchs_seed_by_default():
    images, results = noise(40, 16, 16), []
    views = Views(PAIR)  # built before the seed is known, as when a run is resumed
    for seed in (5, 6, 5):
        torch.manual_seed(seed)
        views.reseed(3)
        results.append(views(images))
    assert same(results[0], results[2]) and not same(results[0], results[1])


def test_global_stream_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    views = Views(PAIR)
    views.reseed(0)
    views(torch.zeros(4, 3, 16, 16, dtype=torch.uint8))
    assert torch.equal(torch.rand(3), expected)


def test_ranks_differ(monkeypatch):
    images, views, results = noise(40, 16, 16), Views(PAIR, seed=1), []
    for rank in (0, 1, 0):
        monkeypatch.setattr('crld_zoo.views.compose.get_rank', lambda rank=rank: rank)
        views.reseed(7)
        results.append(views(images))
    assert same(results[0], results[2]) and not same(results[0], results[1])


def test_stream_seeds_do_not_collide():
    seeds = {
        stream_seed(seed, rank, iteration) for seed in (0, 1, 2**40) for rank in range(8) for iteration in range(1000)
    }
    assert len(seeds) == 24_000
    assert min(seeds) >= 0 and max(seeds) < 2**64
    assert stream_seed(0, 0, 0) == stream_seed(0, 0, 0)
    low_bits = {value % 2**32 for value in seeds}  # all that torch's CPU generator uses
    assert len(low_bits) > 23_990


@pytest.mark.parametrize('twin', [copy.deepcopy, lambda views: pickle.loads(pickle.dumps(views))])
def test_copies(twin):
    """MMEngine's EMA hook copies the model; the copy draws from its own generator."""
    images, views = noise(10, 16, 16), Views(PAIR, seed=1)
    views.reseed(5)
    views(images)
    copied = twin(views)
    copied.reseed(6)
    result = copied(images)
    views.reseed(6)
    assert same(views(images), result)


def test_nothing_to_save_or_train():
    views = Views(PAIR, seed=1)
    views(noise(2, 16, 16))
    assert not views.state_dict() and not list(views.parameters()) and not list(views.buffers())


@pytest.mark.parametrize('layout', ['channels last', 'every other image', 'transposed'])
def test_layout_of_the_input(layout):
    images = noise(12, 16, 16)
    odd = dict(
        zip(
            ('channels last', 'every other image', 'transposed'),
            (
                images.contiguous(memory_format=torch.channels_last),
                images.repeat_interleave(2, 0)[::2],
                images.mT.contiguous().mT,
            ),
            strict=True,
        )
    )[layout]
    plain, strange = Views(PAIR, seed=1), Views(PAIR, seed=1)
    assert same(plain(images), strange(odd))


def test_large_batches_go_in_pieces(monkeypatch):
    """The CPU works on some images at a time; each still has its own numbers and its own place."""
    monkeypatch.setattr('crld_zoo.views.compose._PIECE', 3 * 16 * 16 * 7)
    images = noise(20, 16, 16)
    views = Views(dict(plain=[], weak=CROP_FLIP), seed=0)
    result = views(images)
    assert torch.equal(result['plain'], images) and len(result['weak']) == 20
    black = Views(dict(dark=[dict(type='Brightness', low=0, high=1)]), seed=0)(torch.full_like(images, 255))['dark']
    assert len(black[:, 0, 0, 0].unique()) > 15, 'pieces repeat each other'


def test_plugin_operations():
    class Shift(PoolOperation):
        """Add a constant."""

        def prepare(self, images, magnitude):
            return images + magnitude.to(torch.uint8).view(-1, 1, 1, 1)

    VIEWS.register_module(module=Shift)
    try:
        views = Views(
            dict(
                a=[dict(type='Shift', low=3, high=3)],
                b=[dict(type='RandAugment', num_ops=2, pool=[dict(type='Shift', low=3, high=3)])],
            )
        )
        result = views(torch.zeros(5, 3, 4, 4, dtype=torch.uint8))
    finally:
        VIEWS.module_dict.pop('Shift')
    assert (result['a'] == 3).all() and (result['b'] == 6).all()


@pytest.mark.parametrize(
    ('views', 'message'),
    [
        ({}, 'a dict with a list of operations'),
        ([dict(type='RandomFlip')], 'a dict with a list of operations'),
        (dict(weak=dict(type='RandomFlip')), "view 'weak' must be a list"),
        (dict(weak='RandomFlip'), "view 'weak' must be a list"),
        (dict(weak=['RandomFlip']), "an operation of view 'weak' must be a dict with a type"),
        (dict(weak=[dict(prob=0.5)]), "view 'weak': .* needs a type"),
        (
            dict(weak=[dict(type='RandomFlip', probability=0.5)]),
            "view 'weak': .*'RandomFlip' has no option 'probability'",
        ),
        (dict(weak=[dict(type='RandomCrop')]), "view 'weak': .*RandomCrop.*'?size'?"),
        (dict(weak=[dict(type='RandomCrop', size=0)]), "view 'weak': RandomCrop: size must be"),
        (dict(weak=[dict(type=torch.nn.ReLU)]), 'is not a ViewOperation'),
        (
            dict(weak=[dict(type='RandomCrop', size=32)], strong=[dict(type='Resize', size=16)]),
            "one size, but 'weak' 32x32, 'strong' 16x16",
        ),
    ],
)
def test_refused_when_built(views, message):
    with pytest.raises(InputError, match=message):
        Views(views)


@pytest.mark.parametrize('seed', ['1', 1.5, True])
def test_impossible_seed(seed):
    with pytest.raises(InputError, match='seed must be a whole number'):
        Views(PAIR, seed=seed)


@pytest.mark.parametrize(
    ('name', 'near'),
    [('RandomCorp', 'RandomCrop'), ('randaugment', 'RandAugment'), ('CutOut', 'Cutout'), ('ShearZ', 'ShearX')],
)
def test_unknown_operation(name, near):
    with pytest.raises(UnknownNameError, match=f"view 'strong': unknown view operation '{name}' .*{near}"):
        Views(dict(strong=[dict(type=name)]))


def test_different_sizes_when_run():
    views = Views(dict(weak=[], strong=[dict(type='RandomCrop', size=8)]))
    with pytest.raises(InputError, match="one size, but 'weak' 16x16, 'strong' 8x8"):
        views(noise(2, 16, 16))


@pytest.mark.parametrize(
    ('images', 'message'),
    [
        (torch.rand(2, 3, 16, 16), 'uint8 tensor .* not torch.float32'),
        (noise(2, 16, 16).numpy(), 'not ndarray'),
        (noise(2, 16, 16)[0], r'\(3, 16, 16\)'),
        (noise(2, 16, 16)[:, :1], r'\(2, 1, 16, 16\)'),
        (noise(2, 16, 16)[:0], r'\(0, 3, 16, 16\)'),
        (torch.zeros(2, 4, 16, 16, dtype=torch.uint8), r'\(2, 4, 16, 16\)'),
    ],
)
def test_wrong_images(images, message):
    with pytest.raises(InputError, match=message):
        Views(PAIR)(images)
