"""The fast way over the real CIFAR-100."""

from __future__ import annotations

import hashlib
import os
from collections import Counter

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner

from crld_zoo.datasets import InMemoryCIFAR100, InMemoryTinyImageNet
from crld_zoo.launch.processes import leave_group

from ..processes import run_two

pytestmark = [pytest.mark.data, pytest.mark.slow]


class Recorder(BaseModel):
    """Counts the images it is shown, by their bytes and label."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: Counter = Counter()

    def forward(self, inputs, data_samples, mode):
        self.seen.update(identities(inputs, data_samples))
        return dict(loss=self.weight * 0)


def identities(images, labels):
    return ((hashlib.md5(image).digest(), int(label)) for image, label in zip(images.numpy(), labels, strict=True))


def one_epoch(path, work_dir) -> Counter:
    model = Recorder()
    Runner(
        model=model,
        work_dir=str(work_dir),
        default_scope='crld_zoo',
        randomness=dict(seed=0),
        log_level='ERROR',
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=None, logger=None),
        experiment_name=f'{work_dir.parent.name}_{work_dir.name}',
        train_dataloader=dict(
            batch_size=64,
            num_workers=0,
            collate_fn=dict(type='as_batch'),
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(type='InMemoryCIFAR100', data_root='unused', split='train', data_file=str(path)),
        ),
    ).train()
    return model.seen


def one_epoch_in_process(rank: int, path, folder) -> None:
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder / "store"}', rank=rank, world_size=2)
    torch.save(dict(one_epoch(path, folder / str(rank))), folder / f'{rank}.pt')
    leave_group()


def test_an_epoch_shows_each_image_once(cifar, tmp_path):
    dataset = InMemoryCIFAR100('unused', 'train', data_file=cifar)
    assert dataset.labels.bincount().tolist() == [500] * 100
    expected = Counter(identities(dataset.images, dataset.labels))
    assert expected.total() == 50_000
    assert one_epoch(cifar, tmp_path / 'run') == expected
    run_two(one_epoch_in_process, cifar, tmp_path)
    shares = [Counter(torch.load(tmp_path / f'{rank}.pt')) for rank in range(2)]
    assert [share.total() for share in shares] == [25_000] * 2 and shares[0] + shares[1] == expected


def test_label_subsets(cifar):
    few = InMemoryCIFAR100('unused', 'train', data_file=cifar, labels_per_class=25)
    more = InMemoryCIFAR100('unused', 'train', data_file=cifar, fraction=0.1)
    assert few.labels.bincount().tolist() == [25] * 100 and more.labels.bincount().tolist() == [50] * 100
    assert set(identities(few.images, few.labels)) < set(identities(more.images, more.labels))


def test_tiny_imagenet_photographs(shared, packs, tmp_path):
    """Real JPEG streams, put where the published folder has them."""
    root, wnids, counts = tmp_path / 'tiny-imagenet-200', [], Counter()
    for _, label, stream in packs.iter_jpk(str(shared / 'data' / 'tinyimagenet32_jpeg.zip')):
        wnids = wnids or [f'n{number:08d}' for number in range(200)]
        images = root / 'train' / wnids[label] / 'images'
        if counts[label] < 2:
            os.makedirs(images, exist_ok=True)
            (images / f'{wnids[label]}_{counts[label]}.JPEG').write_bytes(stream)
        counts[label] += 1
        if len(counts) == 200 and min(counts.values()) >= 2:
            break
    (root / 'wnids.txt').write_text('\n'.join(reversed(wnids)))
    (root / 'words.txt').write_text(''.join(f'{wnid}\tname of {wnid}\n' for wnid in wnids))
    dataset = InMemoryTinyImageNet(root, 'train', size=32)
    assert dataset.images.shape == (400, 3, 32, 32) and dataset.labels.bincount().tolist() == [2] * 200
    assert dataset.images.float().std() > 40, 'photographs, not blanks'
