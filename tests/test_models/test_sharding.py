"""A teacher in shares, one a process, answers as the whole one."""

from __future__ import annotations

from pathlib import Path

import crld_zoo  # noqa: F401  a spawned process imports this module alone

# isort: split
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from crld_zoo.errors import InputError
from crld_zoo.models import Teacher
from crld_zoo.models.sharding import shard_over_processes
from crld_zoo.registry import MODELS

SIZE = 32


def classifier(backbone: dict, channels: int, head: str = 'LinearClsHead', neck: dict | None = None) -> dict:
    return dict(type='ImageClassifier', backbone=dict(backbone, init_cfg=dict(type='TruncNormal', layer='Linear')),
                neck=neck, head=dict(type=head, num_classes=10, in_channels=channels))


NETWORKS = dict(
    ResNet='crld_zoo::resnet8x4',
    ViT=classifier(dict(type='VisionTransformer', img_size=SIZE, patch_size=8, arch=dict(
        embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=192)), 48, 'VisionTransformerClsHead'),
    # its patch merging belongs to the stages, but is called from outside of them
    Swin=classifier(dict(
        type='SwinTransformer', img_size=SIZE, patch_size=4, window_size=2, pad_small_map=True, out_indices=(1,),
        arch=dict(embed_dims=24, depths=[2, 2], num_heads=[3, 6])), 48, neck=dict(type='GlobalAveragePooling')))
BLOCKS = dict(ResNet={'BasicBlock'}, ViT={'TransformerEncoderLayer', 'Linear'}, Swin={'SwinBlock'})
"""What each gathers by itself; ViT's head stands in a ``Sequential``."""


def teacher(name: str, **options) -> Teacher:
    torch.manual_seed(0)
    return MODELS.build(dict(type='Teacher', model=NETWORKS[name], num_classes=10, checkpoint='random', size=SIZE,
                             **options))


def images() -> torch.Tensor:
    return torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def held(module: nn.Module) -> int:
    """How many weights stand in this process."""
    return sum((weight.to_local() if isinstance(weight, DTensor) else weight).numel() for weight in module.parameters())


def answers(one: Teacher) -> list[torch.Tensor]:
    logits, features = one.extract(images(), need_features=True)
    return [one(images()), one.extract(images())[0], logits, *features]


def distillation(**options):
    torch.manual_seed(0)
    network = dict(model='crld_zoo::resnet8', num_classes=10)
    return MODELS.build(dict(
        type='Distillation', student=network, distiller=dict(type='KD'),
        teacher=dict(model='crld_zoo::resnet8x4', num_classes=10, checkpoint='random', **options),
        data_preprocessor=dict(type='ViewPreprocessor', mean=[0., 0., 0.], std=[255., 255., 255.])))


class WithScalar(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


def _work(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    report = {}
    for name in NETWORKS:
        whole, shared = teacher(name), teacher(name, shard=True)
        report[name] = dict(
            prints={whole.fingerprint(), shared.fingerprint()}, before=held(shared) / held(whole),
            expected=answers(whole), answers=answers(shared), after=held(shared) / held(whole),
            print_after=shared.fingerprint(), trains=shared.train().training,
            blocks={type(module).__name__.removeprefix('FSDP') for module in shared.network.modules()
                    if isinstance(module, FSDPModule)})
    for name in ('ResNet', 'ViT'):
        report[f'{name} in bfloat16'] = dict(expected=answers(teacher(name, dtype='bfloat16')),
                                             answers=answers(teacher(name, dtype='bfloat16', shard=True)))
    for key, change in (('layout', dict(memory_format=torch.channels_last)), ('device', dict(device='cpu'))):
        moved = teacher('ResNet', shard=True)
        first = answers(moved.to(**change))
        report[key] = dict(expected=answers(teacher('ResNet')), answers=first, again=answers(moved.to(**change)))
    double = teacher('ViT', shard=True).double()
    report['double'] = dict(expected=[teacher('ViT')(images())], answers=[double(images().double()).float()])
    model = distillation(shard=True)  # whose preprocessor asks for channels_last
    views = dict(weak=images())
    report['distillation'] = dict(
        expected=[distillation().teacher_predictions(views)['weak'].logits],
        answers=[model.teacher_predictions(views)['weak'].logits], keys=list(model.state_dict()),
        share=held(model.teacher) / held(distillation().teacher))
    try:
        shard_over_processes(WithScalar(), 'the teacher odd')
    except InputError as error:
        report['refused'] = str(error)
    torch.save(report, folder / f'{rank}.pth')
    torch.distributed.destroy_process_group()


@pytest.fixture(scope='module')
def reports(tmp_path_factory) -> list[dict]:
    """What two processes saw."""
    folder = tmp_path_factory.mktemp('shares')
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv('CUDA_VISIBLE_DEVICES', '')  # where there is one GPU, two processes cannot share it
        torch.multiprocessing.spawn(_work, (folder,), nprocs=2)
    return [torch.load(folder / f'{rank}.pth', weights_only=True) for rank in range(2)]


@pytest.mark.parametrize('case', [*NETWORKS, 'ResNet in bfloat16', 'ViT in bfloat16', 'layout', 'device', 'double',
                                  'distillation'])
def test_shares_answer_as_the_whole(reports, case):
    for report in (report[case] for report in reports):
        assert report['expected'][0].std() > 1e-3, 'constant logits would test nothing'
        for key in {'answers', 'again'} & report.keys():
            for answer, expected in zip(report[key], report['expected'], strict=True):
                torch.testing.assert_close(answer, expected)


@pytest.mark.parametrize('name', NETWORKS)
def test_a_process_holds_its_share_before_and_after_a_run(reports, name):
    for when in ('before', 'after'):
        shares = [report[name][when] for report in reports]
        assert sum(shares) == pytest.approx(1)
        assert max(shares) < 0.51


@pytest.mark.parametrize('name', NETWORKS)
def test_what_is_gathered_at_once_is_a_block(reports, name):
    assert all(report[name]['blocks'] == BLOCKS[name] for report in reports)


@pytest.mark.parametrize('name', NETWORKS)
def test_shares_have_the_fingerprint_of_the_whole(reports, name):
    prints = {reports[0][name]['print_after'], *reports[0][name]['prints'], *reports[1][name]['prints']}
    assert len(prints) == 1


def test_the_teacher_stays_in_eval_mode_and_out_of_checkpoints(reports):
    assert not any(report[name]['trains'] for report in reports for name in NETWORKS)
    assert reports[0]['distillation']['keys'] == list(distillation().state_dict())
    assert reports[0]['distillation']['share'] < 0.51


def test_what_cannot_be_shared_is_refused(reports):
    assert reports[0]['refused'].startswith('the teacher odd cannot be sharded')


def test_one_process_keeps_it_whole_and_says_so(log):
    one = teacher('ResNet', shard=True)
    assert not any(isinstance(module, FSDPModule) for module in one.modules())
    torch.testing.assert_close(one(images()), teacher('ResNet')(images()))
    assert 'stays whole: shard=True needs several processes' in log.text
