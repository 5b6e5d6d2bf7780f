"""The in-memory base: its batches, its epochs on one process and on two, what it refuses."""

from __future__ import annotations

import random

import mmengine.registry
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from crld_zoo.datasets import Digits, InMemoryDataset, SyntheticImages, as_batch
from crld_zoo.datasets.in_memory import _roomy_device
from crld_zoo.datasets.labels import labels_of
from crld_zoo.errors import InputError
from crld_zoo.launch.processes import leave_group
from crld_zoo.registry import FUNCTIONS

from ..processes import run_two

CLASSES = ('a', 'b', 'c')


class Numbered(InMemoryDataset):
    """Images that carry their index in their first two pixels; the label is the index modulo three."""

    def __init__(self, count: int, **options) -> None:
        index = torch.arange(count)
        images = torch.zeros(count, 3, 1, 2, dtype=torch.uint8)
        images[:, 0, 0, 0], images[:, 0, 0, 1] = index // 256, index % 256
        super().__init__(images, index % 3, CLASSES, **options)


def numbers(images: torch.Tensor) -> list[int]:
    return (images[:, 0, 0, 0].long() * 256 + images[:, 0, 0, 1].long()).tolist()


class Recorder(BaseModel):
    """A model that notes what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def forward(self, inputs, data_samples, mode):
        assert inputs.dtype == torch.uint8 and data_samples.dtype == torch.long
        indices = numbers(inputs)
        assert data_samples.tolist() == [index % 3 for index in indices]
        self.seen.append(indices)
        return dict(loss=self.weight * 0)


def record_epochs(work_dir, epochs: int = 2, **dataloader) -> list[list[list[int]]]:
    """The indices of every batch of every epoch, as MMEngine's Runner deals them."""
    loader = dict(
        batch_size=7,
        num_workers=0,
        dataset=dict(type=Numbered, count=50),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='as_batch'),
    )
    runner = Runner(
        model=Recorder(),
        work_dir=str(work_dir),
        train_dataloader={**loader, **dataloader},
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=None, logger=None),
        default_scope='crld_zoo',
        randomness=dict(seed=3),
        log_level='ERROR',
        experiment_name=f'{work_dir.parent.name}_{work_dir.name}',
    )
    model = runner.train()
    batches = len(runner.train_dataloader)
    return [model.seen[start : start + batches] for start in range(0, epochs * batches, batches)]


def record_in_process(rank: int, folder) -> None:
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder / "store"}', rank=rank, world_size=2)
    epochs = record_epochs(folder / str(rank), dataset=dict(type=Numbered, count=51))
    torch.save(epochs, folder / f'{rank}.pt')
    leave_group()


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


def test_runner_deals_each_image_once_an_epoch(tmp_path):
    first, second = record_epochs(tmp_path / 'a')
    assert sorted(flat(first)) == sorted(flat(second)) == list(range(50))
    assert [len(batch) for batch in first] == [7] * 7 + [1]
    assert first != second
    assert [first, second] == record_epochs(tmp_path / 'b'), 'the seed fixes the order'


def test_two_processes_share_each_epoch(tmp_path):
    run_two(record_in_process, tmp_path)
    shares = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    for first, second in zip(*shares, strict=True):
        assert len(flat(first)) == len(flat(second)) == 26
        seen = sorted(flat(first) + flat(second))
        assert sorted(set(seen)) == list(range(51)) and len(seen) == 52, 'one repeats, to even the shares out'


def test_workers_give_the_same_batches(tmp_path):
    dataset = Numbered(20)
    loaders = [DataLoader(dataset, batch_size=6, num_workers=workers, collate_fn=as_batch) for workers in (0, 1)]
    plain, worked = ([numbers(batch['inputs']) for batch in loader] for loader in loaders)
    assert plain == worked == [list(range(start, min(start + 6, 20))) for start in range(0, 20, 6)]


@pytest.mark.parametrize(
    'wrapper, length',
    [
        (dict(type='RepeatDataset', times=3, dataset=dict(type=Numbered, count=10)), 30),
        (dict(type='ConcatDataset', datasets=[dict(type=Numbered, count=10), dict(type=Numbered, count=20)]), 30),
    ],
)
def test_wrappers_of_mmengine_give_the_same_batches_with_default_collate(tmp_path, wrapper, length):
    (epoch,) = record_epochs(tmp_path / 'run', 1, dataset=wrapper, collate_fn=dict(type='default_collate'))
    times = {index: flat(epoch).count(index) for index in range(20)}
    assert len(flat(epoch)) == length
    assert set(times.values()) == ({3, 0} if wrapper['type'] == 'RepeatDataset' else {2, 1})
    with pytest.raises(InputError, match=r'default_collate.*wrapped in-memory dataset.*pseudo_collate.*pipeline'):
        record_epochs(tmp_path / 'wrong', 1, dataset=wrapper)


def test_shortened_epochs_use_the_fast_way(tmp_path):
    (epoch,) = record_epochs(tmp_path / 'run', 1, num_batch_per_epoch=3)
    assert [len(batch) for batch in epoch] == [7, 7, 7]


def test_one_image_and_a_batch_agree():
    dataset = Numbered(9)
    batch = dataset.__getitems__([4, 4, 8])
    for place, index in enumerate([4, 4, 8]):
        single = dataset[index]
        assert torch.equal(single['inputs'], batch['inputs'][place])
        assert single['data_samples'] == batch['data_samples'][place] == index % 3
    assert single['data_samples'].dtype == torch.long and single['data_samples'].ndim == 0
    batch['inputs'].zero_()
    assert numbers(dataset.images) == list(range(9)), 'a batch is a copy'


def test_metainfo_is_a_copy():
    dataset = Numbered(3)
    dataset.metainfo['classes'] = ()
    assert dataset.metainfo == dict(classes=CLASSES)


@pytest.mark.parametrize('classes', [(), ('a',)])
def test_one_class_is_nothing_to_learn(classes):
    with pytest.raises(InputError, match=f'{len(classes)} classes, and a classifier needs two'):
        InMemoryDataset(GOOD, [0, 0], classes)


WRAPPERS = {
    'RepeatDataset': lambda inner: dict(type='RepeatDataset', dataset=inner, times=2),
    'ConcatDataset': lambda inner: dict(type='ConcatDataset', datasets=[inner, inner]),
    'ClassBalancedDataset': lambda inner: dict(type='ClassBalancedDataset', dataset=inner, oversample_thr=0.5),
    'KFoldDataset': lambda inner: dict(type='KFoldDataset', dataset=inner, num_splits=3),
}


@pytest.mark.parametrize('name', WRAPPERS)
@pytest.mark.parametrize(
    'inner',
    [dict(type='SyntheticImages', num_images=12, num_classes=3, size=4), dict(type='Digits', split='train')],
    ids=['synthetic', 'digits'],
)
def test_wrappers_know_classes_and_labels(name, inner):
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        plain, wrapped = (mmengine.registry.DATASETS.build(config) for config in (inner, WRAPPERS[name](inner)))
    assert wrapped.metainfo['classes'] == plain.metainfo['classes']
    labels = labels_of(wrapped)
    assert len(labels) == len(wrapped) and labels[0] == int(wrapped[0]['data_samples'])
    assert labels.tolist() == [int(wrapped[index]['data_samples']) for index in range(len(wrapped))]


def test_class_balanced_dataset_repeats_rare_classes():
    labels = torch.tensor([0] * 16 + [1] * 3 + [-1])
    images = torch.zeros(20, 3, 2, 2, dtype=torch.uint8)
    inner = dict(type='InMemoryDataset', images=images, labels=labels, classes=['a', 'b'])
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        balanced = mmengine.registry.DATASETS.build(
            dict(type='ClassBalancedDataset', dataset=inner, oversample_thr=0.5)
        )
    # frequencies .8, .15: repeated 1 and ceil(sqrt(.5 / .15)) = 2 times; an image without label once
    assert np.bincount(labels_of(balanced) + 1).tolist() == [1, 16, 6]


def test_arrays_and_lists_are_taken():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 6), dtype=np.uint8)
    dataset = InMemoryDataset(images, [0, 1, 2, 2], CLASSES)
    assert np.array_equal(dataset.images.numpy(), images) and dataset.labels.tolist() == [0, 1, 2, 2]
    assert dataset.labels.dtype == torch.long and dataset.images.is_contiguous()


GOOD = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)


@pytest.mark.parametrize(
    'images, labels, message',
    [
        (GOOD.float(), [0, 1], r'images must be uint8 .* float32 of shape \(2, 3, 4, 4\)'),
        (GOOD.permute(0, 2, 3, 1), [0, 1], r'images must be .* shape \(2, 4, 4, 3\)'),
        (GOOD[0], [0, 1], r'images must be .* shape \(3, 4, 4\)'),
        (GOOD, [0.0, 1.0], r'labels must be integers .* float32 of shape \(2,\)'),
        (GOOD, [[0, 1], [1, 0]], r'labels must be integers .* shape \(2, 2\)'),
        (GOOD, [True, False], 'labels must be integers .* bool'),
        (GOOD, [0, 1, 2], '2 images, but 3 labels'),
        (GOOD[:0], torch.zeros(0, dtype=torch.long), 'holds no image'),
        (GOOD, [0, 3], r'label 3 lies outside the 3 classes \(0 to 2; -1 is unlabeled\)'),
        (GOOD, [0, -2], 'label -2 lies outside the 3 classes'),
        (GOOD, [0, -100], 'label -100 lies outside the 3 classes'),
    ],
)
def test_wrong_arrays_are_refused(images, labels, message):
    with pytest.raises(InputError, match=message):
        InMemoryDataset(images, labels, CLASSES)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_no_gpu_is_said():
    with pytest.raises(InputError, match="device='cuda'.*no GPU.*device='cpu'"):
        Numbered(3, device='cuda')


@pytest.mark.parametrize(('gpu', 'free', 'device'), [(False, 99, 'cpu'), (True, 23, 'cpu'), (True, 24, 'cuda')])
def test_auto_is_the_gpu_where_the_images_take_at_most_a_quarter(monkeypatch, gpu, free, device):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda: (free, 100))
    assert _roomy_device(torch.zeros(1, 3, 1, 2, dtype=torch.uint8)) == device


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_auto_without_a_gpu_is_the_cpu():
    assert Numbered(3, device='auto').images.device.type == 'cpu'


@pytest.mark.cuda
def test_dataset_on_the_gpu():
    dataset, reference = Numbered(300, device='cuda'), Numbered(300)
    batch = dataset.__getitems__([299, 0, 7])
    assert batch['inputs'].is_cuda and batch['data_samples'].is_cuda
    assert torch.equal(batch['inputs'].cpu(), reference.__getitems__([299, 0, 7])['inputs'])
    with pytest.raises(InputError, match='num_workers=0'):
        next(iter(DataLoader(dataset, batch_size=4, num_workers=1, collate_fn=as_batch)))


def test_collate_is_found_by_the_runner_and_the_zoo():
    # the Runner asks MMEngine's own registry
    assert mmengine.registry.FUNCTIONS.get('as_batch') is FUNCTIONS.get('as_batch') is as_batch
    batch = dict(inputs=GOOD, data_samples=torch.zeros(2))
    assert as_batch(batch) is batch


def test_built_from_a_config_file(tmp_path):
    (tmp_path / 'config.py').write_text("dataset = dict(type='SyntheticImages', num_images=12, num_classes=4, size=8)")
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        dataset = mmengine.registry.DATASETS.build(Config.fromfile(tmp_path / 'config.py').dataset)
    assert isinstance(dataset, SyntheticImages) and dataset.images.shape == (12, 3, 8, 8)


class TestSynthetic:
    def test_is_a_function_of_its_arguments(self):
        first = SyntheticImages(40, 4, size=8, seed=1)
        torch.manual_seed(5), random.seed(5), np.random.seed(5)
        again, other = SyntheticImages(40, 4, size=8, seed=1), SyntheticImages(40, 4, size=8, seed=2)
        assert torch.equal(first.images, again.images) and not torch.equal(first.images, other.images)
        assert first.labels.bincount().tolist() == [10] * 4

    def test_can_be_learned(self):
        train, test = (SyntheticImages(200, 4, size=8, seed=seed) for seed in (1, 2))
        means = torch.stack([train.images[train.labels == label].float().mean(0).flatten() for label in range(4)])
        nearest = torch.cdist(test.images.flatten(1).float(), means).argmin(1)
        assert (nearest == test.labels).double().mean() > 0.95

    @pytest.mark.parametrize('arguments', [(0, 1), (1, 0), (1, 1, 0)])
    def test_nothing_of_nothing(self, arguments):
        with pytest.raises(InputError, match='must be at least 1'):
            SyntheticImages(*arguments)


class TestDigits:
    def test_split_is_fixed_whole_and_balanced(self):
        from sklearn.datasets import load_digits

        train, test = Digits('train'), Digits('test')
        assert (len(train), len(test)) == (1297, 500) and test.labels.bincount().tolist() == [50] * 10
        assert train.images.shape[1:] == test.images.shape[1:] == (3, 8, 8)
        digits = load_digits()
        expected = sorted(
            (np.rint(image * 255 / 16).astype(np.uint8).tobytes(), int(label))
            for image, label in zip(digits.images, digits.target, strict=True)
        )
        split = sorted(
            (image[0].numpy().tobytes(), int(label))
            for dataset in (train, test)
            for image, label in zip(dataset.images, dataset.labels, strict=True)
        )
        assert split == expected
        assert int(train.images.max()) == 255 and torch.equal(train.images[:, 0], train.images[:, 2])
        assert train.metainfo['classes'] == tuple('0123456789')

    def test_hyperparameters_are_chosen_on_a_part_of_the_training_images(self):
        train, fit, val = Digits('train'), Digits('fit'), Digits('val')
        assert (len(fit), len(val)) == (997, 300) and val.labels.bincount().tolist() == [30] * 10
        parts = sorted(image.numpy().tobytes() for part in (fit, val) for image in part.images)
        assert parts == sorted(image.numpy().tobytes() for image in train.images)

    def test_size(self):
        plain, large = Digits('test'), Digits('test', size=16)
        assert large.images.shape == (500, 3, 16, 16) and torch.equal(large.labels, plain.labels)
        shrunk = torch.nn.functional.avg_pool2d(large.images.float(), 2)
        assert torch.corrcoef(torch.stack([shrunk.flatten(), plain.images.float().flatten()]))[0, 1] > 0.95

    @pytest.mark.parametrize(
        'arguments, message',
        [(dict(split='all'), "'fit' or 'val', not 'all'"), (dict(split='test', size=0), 'at least 1 pixel')],
    )
    def test_impossible_options(self, arguments, message):
        with pytest.raises(InputError, match=message):
            Digits(**arguments)
