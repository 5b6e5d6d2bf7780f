"""Every recipe has the published hyperparameters, whatever it inherits; the tables here are from the papers."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner

from crld_zoo.distillers import Distiller
from crld_zoo.registry import DISTILLERS

from .recipes import CONFIGS, LEAVES, METHODS, TABLES, load

CIFAR = {
    'ce': {},
    'kd': dict(temperature=4, ce_weight=0.1, kd_weight=0.9),
    'dkd': dict(temperature=4, alpha=1, beta=8, warmup=20, ce_weight=1, kd_weight=1),
    'nkd': dict(gamma=1.5, temperature=1, ce_weight=1, kd_weight=1),
    'normkd': dict(temperature_norm=2, ce_weight=0.1, kd_weight=0.9),
    'normkd_dkd': dict(temperature_norm=2, warmup=20, ce_weight=1, kd_weight=1),
    'mlld': dict(temperature=4, variant='reference', ce_weight=0.1, kd_weight=0.9),
    'kd+ls': dict(temperature=2, ce_weight=0.1, kd_weight=9),
    'kd+sdd': dict(temperature=4, scales=(1, 2, 4), complementary_weight=2, ce_weight=0.1, kd_weight=0.9),
    'mlld+ls': dict(temperature=2, variant='reference', ce_weight=0.1, kd_weight=9),
    'dkd+ls': dict(alpha=1, warmup=20, ce_weight=1),
    'ctkd+ls': dict(t_start=1, t_end=20, ce_weight=0.1, kd_weight=9),
    'seq_kd': dict(temperature=1, ce_weight=0, kd_weight=1),
    'logit_mse': dict(ce_weight=0, kd_weight=1),
    'dist': dict(beta=2, gamma=2, temperature=4, ce_weight=1, kd_weight=1),  # from no source, as its recipes say
    'wsld': dict(temperature=4, alpha=2.25, ce_weight=1, kd_weight=1),
    'ikl': dict(temperature=4, alpha=1, beta=8, t2=100, with_table=False, warmup=20, ce_weight=1, kd_weight=1),
    'gkl': dict(temperature=4, alpha=1, beta=8, warmup=20, ce_weight=1, kd_weight=1),
    'gkd': dict(temperature=4, warmup=10, ce_weight=1, kd_weight=1),
    'rld': dict(temperature=4, warmup=20, ce_weight=1, kd_weight=1),
    'ldrld': dict(temperature=4, alpha=10.5, beta=7, ce_weight=1, kd_weight=1),
    'bkl': dict(temperature=4, ce_weight=0.1, kd_weight=0.9),
    'fitnet': dict(taps=('stage2',), ce_weight=1, kd_weight=100),
    'at': dict(p=2, taps=('stage1', 'stage2', 'stage3'), ce_weight=1, kd_weight=1000),
    'sp': dict(taps=('stage3',), ce_weight=1, kd_weight=3000),
    'nst': dict(taps=('stage1', 'stage2', 'stage3'), ce_weight=1, kd_weight=50),
    'vid': dict(init_pred_var=5, eps=1e-5, taps=('stage1', 'stage2', 'stage3'), ce_weight=1, kd_weight=1),
    'pkt': dict(taps=('embedding',), ce_weight=1, kd_weight=30000),
    'rkd': dict(distance_weight=25, angle_weight=50, taps=('embedding',), ce_weight=1, kd_weight=1),
    'cc': dict(form='neighbors', feat_dim=128, taps=('embedding',), ce_weight=1, kd_weight=0.02),
    'crd': dict(
        nce_k=16384, temperature=0.07, momentum=0.5, feat_dim=128, taps=('embedding',), ce_weight=1, kd_weight=0.8
    ),
    'rrd': dict(nce_t_s=0.1, nce_t_t=0.02, feat_dim=128, taps=('embedding',), ce_weight=1, kd_weight=1),
    'catkd': dict(binarize=False, ce_weight=1),
    'mgd': dict(lambda_mgd=0.15, mask='channel', taps=('stage3',), ce_weight=1, kd_weight=0.0012),
    'ofd': dict(taps=('stage1:pre', 'stage2:pre', 'stage3:pre'), ce_weight=1, kd_weight=1e-3),
    'reviewkd': dict(warmup=20, taps=('stage1', 'stage2', 'stage3', 'embedding'), ce_weight=1),
    'ctkd': dict(ce_weight=0.1, kd_weight=0.9),
    'cmkd': dict(ce_weight=1, kd_weight=1),
    'kdiga': dict(lambda_=0.1, temperature=1, ce_weight=1, kd_weight=1),
    'simkd': dict(taps=('last_map',), ce_weight=0, kd_weight=1),
    'deepkd': dict(temperature=4, alpha=1, rest_weight='one', warmup=20, ce_weight=1, kd_weight=1),
}
IMAGENET = {
    'ce': {},
    'kd': dict(temperature=1, ce_weight=0.5, kd_weight=0.5),
    'dkd': dict(temperature=1, alpha=1, warmup=1, ce_weight=1, kd_weight=1),
    'nkd': dict(gamma=1.5, temperature=1, ce_weight=1, kd_weight=1),
    'normkd': dict(temperature_norm=1, ce_weight=0.5, kd_weight=0.5),
    'normkd_dkd': dict(temperature_norm=0.5, alpha=1, beta=1, warmup=1, ce_weight=1, kd_weight=1),
    'mlld': dict(temperature=1, variant='reference', ce_weight=0.5, kd_weight=0.5),
    'tf_nkd': dict(ce_weight=1, kd_weight=1),
    'uskd': dict(alpha=1, beta=0.1, mu=0.005, variant='reference', ce_weight=1),
    'dist': dict(beta=1, gamma=1, temperature=1, ce_weight=1, kd_weight=1),
    'wsld': dict(temperature=2, alpha=2.5, ce_weight=1, kd_weight=1),
    'rld': dict(temperature=1, alpha_temperature=1, alpha=1, beta=0.5, warmup=1, ce_weight=1, kd_weight=1),
    'ikl': dict(temperature=1, alpha=1, beta=0.5, t2=1, with_table=True, ce_weight=1, kd_weight=1),
    'at': dict(p=2, taps=('stage1', 'stage2', 'stage3', 'stage4'), ce_weight=1, kd_weight=1000),
    'mgd': dict(lambda_mgd=0.15, mask='channel', taps=('stage4',), ce_weight=1, kd_weight=7e-5),
    'reviewkd': dict(
        warmup=1, taps=('stage1:pre', 'stage2:pre', 'stage3:pre', 'stage4:pre', 'embedding'), ce_weight=1, kd_weight=1
    ),
    'crd': dict(nce_k=16384, temperature=0.07, momentum=0.5, feat_dim=128, ce_weight=1, kd_weight=0.8),
    'ctkd': dict(ce_weight=0.1, kd_weight=0.9),
}
OF_A_PAIR = {
    'reviewkd': {
        f'{pair}_cifar100': dict(kd_weight=weight)
        for pair, weight in (
            ('r56_r20', 0.6),
            ('r110_r32', 1),
            ('r32x4_r8x4', 5),
            ('wrn40-2_wrn16-2', 5),
            ('wrn40-2_wrn40-1', 5),
            ('r32x4_shuv1', 5),
            ('wrn40-2_shuv1', 5),
            ('r32x4_shuv2', 8),
        )
    },
    'catkd': {
        f'{pair}_cifar100': dict(kd_weight=weight, cam_resolution=resolution, normalize=normalize)
        for pair, weight, resolution, normalize in (
            ('r56_r20', 0.7, 2, False),
            ('r110_r32', 1.8, 2, False),
            ('r32x4_r8x4', 15, 2, False),
            ('wrn40-2_wrn16-2', 12, 2, False),
            ('wrn40-2_wrn40-1', 1.5, 2, False),
            ('vgg13_vgg8', 4.5, 2, False),
            ('vgg13_mbv2', 15, 2, True),
            ('r50_mbv2', 40, 2, True),
            ('r32x4_shuv1', 600, 4, True),
            ('r32x4_shuv2', 600, 4, True),
            ('wrn40-2_shuv1', 80, 4, True),
        )
    },
    'dkd': {
        **{f'{pair}_cifar100': dict(beta=2) for pair in ('r56_r20', 'r110_r32', 'r110_r20')},
        **{
            f'{pair}_cifar100': dict(beta=6)
            for pair in ('vgg13_vgg8', 'wrn40-2_wrn16-2', 'wrn40-2_wrn40-1', 'vgg13_mbv2', 'wrn40-2_mbv2')
        },
        'r34_r18_imagenet': dict(beta=0.5),
        'r50_mbv1_imagenet': dict(beta=2),
    },
    'deepkd': {'r56_r20_cifar100': dict(beta=0.5), 'r32x4_r8x4_cifar100': dict(beta=8)},
    'dkd+ls': {
        f'{pair}_cifar100': dict(kd_weight=weight, beta=beta, temperature=temperature)
        for pair, weight, beta, temperature in (
            ('r32x4_r8x4', 9, 8, 2),
            ('vgg13_vgg8', 15, 2, 2),
            ('wrn40-2_wrn40-1', 12, 2, 2),
            ('wrn40-2_wrn16-2', 12, 2, 2),
            ('r56_r20', 18, 2, 3),
            ('r110_r32', 15, 2, 2),
            ('r110_r20', 15, 2, 2),
            ('r32x4_shuv2', 9, 8, 2),
            ('wrn40-2_r8x4', 18, 2, 2),
            ('vgg13_mbv2', 9, 2, 3),
            ('r50_mbv2', 15, 2, 2),
            ('r32x4_wrn16-2', 9, 2, 2),
            ('r32x4_wrn40-2', 9, 8, 2),
            ('wrn40-2_mbv2', 15, 2, 2),
        )
    },
    'ikl': {
        f'{pair}_cifar100': dict(alpha=alpha, beta=beta)
        for pair, alpha, beta in (('r56_r20', 1, 4), ('wrn40-2_wrn16-2', 3, 12), ('vgg13_vgg8', 1, 12))
    },
    'kd+sdd': {'r32x4_r8x4_cifar100': dict(scales=(1, 2))},
    'nkd': {
        **{f'{pair}_imagenet': dict(gamma=1, label_smoothing=0.1) for pair in ('deit3-s_deit-t', 'swin-l_swin-t')},
        'r34_r18_cifar100': dict(gamma=3.5, temperature=3),
    },
    'mlld+ls': {f'{pair}_cifar100': dict(kd_weight=6) for pair in ('vgg13_vgg8', 'vgg13_mbv2', 'r32x4_shuv2')},
    'kd+ls': {
        f'r56_{student}_cifar100': dict(ce_weight=1, kd_weight=10 if student == 'deit-t' else 9)
        for student in ('deit-t', 't2t-7', 'pit-t', 'pvt-t')
    },
    'kd': {
        'r32x4_r8x4_tiny_imagenet': dict(temperature=1),
        'bit-r152x2_bit-r50_imagenet': dict(ce_weight=0, kd_weight=1),
        'ema_r20_cifar100': dict(temperature=1, ce_weight=1, kd_weight=1),
    },
    'kd+crld': {f'{pair}_tiny_imagenet': dict(temperature=2) for pair in ('r32x4_r8x4', 'vitl16-384_r18')},
    'mlld': {'r32x4_r8x4_tiny_imagenet': dict(temperature=1, ce_weight=0.5, kd_weight=0.5)},
    'normkd': {'r32x4_r8x4_tiny_imagenet': dict(temperature_norm=1, ce_weight=0.5, kd_weight=0.5)},
    'normkd_dkd': {
        **{
            f'{pair}_cifar100': dict(alpha=alpha, beta=beta)
            for pair, alpha, beta in (
                ('r56_r20', 7, 2),
                ('r110_r32', 5, 4),
                ('r32x4_r8x4', 4, 5),
                ('wrn40-2_wrn16-2', 4, 5),
                ('wrn40-2_wrn40-1', 3, 6),
                ('vgg13_vgg8', 2, 7),
                ('r32x4_shuv1', 0.5, 8.5),
                ('r32x4_shuv2', 4, 5),
                ('wrn40-2_shuv1', 4, 5),
                ('vgg13_mbv2', 3, 6),
                ('r50_mbv2', 2, 7),
            )
        },
        'r50_mbv1_imagenet': dict(temperature_norm=0.75),
    },
}
CRLD = dict(
    cifar100=dict(ce_weight=1, wv_weight=2, cv_weight=0.5, tau_w=0.9, tau_s=0.2, mask_by='term'),
    tiny_imagenet=dict(ce_weight=1, wv_weight=4, cv_weight=1, tau_w=0.9, tau_s=0.2, mask_by='term'),
    imagenet=dict(ce_weight=2, wv_weight=2, cv_weight=0.5, tau_w=0.9, tau_s=0.2, mask_by='term'),
)
PUBLISHED = """
                         kd     dkd    mlld   kd+ls  mlld+ls kd+crld dkd+ls ctkd+ls
r56_r20_cifar100         70.66  71.97  72.19  71.43  72.33   72.10   72.32  71.34
r110_r32_cifar100        73.08  74.11  74.11  74.17  74.32   74.42   -      -
r32x4_r8x4_cifar100      73.33  76.32  77.08  76.62  78.28   -       77.01  76.67
wrn40-2_wrn16-2_cifar100 74.92  76.24  76.63  76.11  76.95   76.45   -      -
wrn40-2_wrn40-1_cifar100 73.54  74.81  75.35  74.37  75.56   75.58   -      -
vgg13_vgg8_cifar100      72.98  74.68  75.18  74.36  75.22   75.27   -      -
r32x4_shuv2_cifar100     74.45  77.07  78.44  75.56  78.76   -       -      -
wrn40-2_r8x4_cifar100    73.97  75.56  77.33  77.11  77.68   -       -      -
vgg13_mbv2_cifar100      67.37  69.71  70.57  68.61  70.94   -       -      -
r50_mbv2_cifar100        67.35  70.35  71.04  69.02  71.19   -       -      -
r32x4_shuv1_cifar100     74.07  76.45  -      -      -       -       -      -
wrn40-2_shuv1_cifar100   74.83  76.70  -      -      -       -       -      -
r110_r20_cifar100        70.67  -      -      -      -       -       -      -
r32x4_wrn16-2_cifar100   74.90  -      -      -      -       -       -      -
r32x4_wrn40-2_cifar100   77.70  -      -      -      -       -       -      -
wrn40-2_mbv2_cifar100    68.36  -      -      -      -       -       -      -
r56_deit-t_cifar100      -      -      -      78.55  -       -       -      -
r56_t2t-7_cifar100       -      -      -      78.43  -       -       -      -
r56_pit-t_cifar100       -      -      -      78.76  -       -       -      -
r56_pvt-t_cifar100       -      -      -      78.43  -       -       -      -
r34_r18_imagenet         71.03  71.70  -      -      -       -       -      -
r50_mbv1_imagenet        70.50  72.05  -      -      -       -       -      -
"""  # the tables of sunshangquan/logit-standardization-KD, megvii-research/mdistiller and of CRLD's public records
OF_ONE_NETWORK = """
r20 69.06, r32 71.14, r56 72.34, r110 74.31, r8x4 72.50, r32x4 79.42, r50 79.34, wrn16-2 73.26, wrn40-1 71.98,
wrn40-2 75.61, vgg8 70.36, vgg13 74.64, mbv2 64.60, shuv1 70.50, shuv2 71.82
deit-t 65.08, t2t-7 69.37, pit-t 73.58, pvt-t 69.22
"""  # on the labels alone, CIFAR-100: the tables of HobbitLong/RepDistiller and sunshangquan/logit-standardization-KD
OTHERS_PUBLISHED = dict(
    ce_r18_imagenet=69.75,
    ce_mbv1_imagenet=68.87,
    nkd_r34_r18_imagenet=71.96,
    nkd_r50_mbv1_imagenet=72.58,
    tf_nkd_r18_imagenet=70.76,
    dist_r34_r18_imagenet=72.07,
    dist_r56_r20_cifar100=71.75,
    dist_r32x4_r8x4_cifar100=76.31,
    wsld_r34_r18_imagenet=72.04,
    ikl_r34_r18_imagenet=71.91,
    ctkd_r34_r18_imagenet=71.32,
    ctkd_r56_r20_cifar100=71.19,
    ctkd_r32x4_r8x4_cifar100=73.39,
    fitnet_r56_r20_cifar100=69.21,
    fitnet_r32x4_r8x4_cifar100=73.50,
    at_r56_r20_cifar100=70.55,
    at_r32x4_r8x4_cifar100=73.44,
    sp_r56_r20_cifar100=69.67,
    sp_r32x4_r8x4_cifar100=72.94,
    nst_r56_r20_cifar100=69.60,
    nst_r32x4_r8x4_cifar100=73.30,
    vid_r56_r20_cifar100=70.38,
    vid_r32x4_r8x4_cifar100=73.09,
    pkt_r56_r20_cifar100=70.34,
    pkt_r32x4_r8x4_cifar100=73.64,
    rkd_r56_r20_cifar100=69.61,
    rkd_r32x4_r8x4_cifar100=71.90,
    cc_r56_r20_cifar100=69.63,
    cc_r32x4_r8x4_cifar100=72.97,
    crd_r56_r20_cifar100=71.16,
    crd_r32x4_r8x4_cifar100=75.51,
    mgd_r34_r18_imagenet=71.69,
    simkd_r32x4_r8x4_cifar100=78.08,
    ofd_r56_r20_cifar100=70.98,
    ofd_r32x4_r8x4_cifar100=74.95,
    reviewkd_r56_r20_cifar100=71.89,
    reviewkd_r32x4_r8x4_cifar100=75.63,
    uskd_mbv1_imagenet=70.38,
    uskd_mbv2_imagenet=72.41,
    uskd_shuv2_imagenet=70.30,
    uskd_r18_imagenet=70.79,
    uskd_r50_imagenet=77.07,
    uskd_r101_imagenet=78.54,
    tf_nkd_mbv1_imagenet=70.04,
    tf_nkd_mbv2_imagenet=72.08,
    tf_nkd_shuv2_imagenet=69.93,
    tf_nkd_r50_imagenet=76.93,
    **{'kd+sdd_r32x4_r8x4_cifar100': 75.59, 'tf_nkd_swin-t_imagenet': 81.48, 'nkd_deit3-s_deit-t_imagenet': 76.68},
    **{'kd_bit-r152x2_bit-r50_imagenet': 82.8, 'deit_regnety-16gf_deit-t_imagenet': 74.5},
    **{'uskd_regnetx-1.6gf_imagenet': 77.30, 'uskd_swin-t_imagenet': 81.49, 'uskd_deit-t_imagenet': 74.97},
)
SLOW_STUDENTS = ('mbv2', 'shuv1', 'shuv2')


class Name:
    """What the name of a recipe says."""

    def __init__(self, name: str) -> None:
        self.folder, stem = name.split('/')
        self.dataset = next(end for end in ('tiny_imagenet', 'imagenet', 'cifar100') if stem.endswith(f'_{end}'))
        of_file = [method for method in METHODS if stem.startswith((f'{method}_', f'{method}+crld_'))]
        self.method = max(of_file, key=len, default=stem.split('_')[0])
        self.pair = stem.split(f'{self.method}_', 1)[-1].removeprefix(f'{self.method}+crld_')
        self.student = self.pair.removesuffix(f'_{self.dataset}').split('_')[-1]


RECIPES = {name: Name(name) for name in LEAVES if name.split('/')[0] not in ('dense', 'quickstart', 'your_data')}


def check(distiller: Distiller, expected: dict) -> None:
    """See that each value is that of the innermost distiller which has it."""
    chain = [distiller]
    while hasattr(chain[0], 'distiller'):
        chain.insert(0, chain[0].distiller)
    found = {key: next(getattr(held, key) for held in chain if hasattr(held, key)) for key in expected}
    assert found == expected


@pytest.mark.parametrize('name', RECIPES)
def test_hyperparameters_of_the_method(name):
    says = RECIPES[name]
    distiller = DISTILLERS.build(load(name).model.distiller)
    if '+crld' in name:
        weights = CRLD['cifar100' if 'vitl' in name else says.dataset]
        assert {key: getattr(distiller, key) for key in weights} == weights
    method = (IMAGENET if says.dataset == 'imagenet' else CIFAR).get(says.method)
    if method is None:  # not in these tables: then its defaults are the published ones, and its own tests hold them
        assert says.method not in CIFAR | IMAGENET
        return
    of_a_pair = OF_A_PAIR.get(says.method, {})
    if '+crld' in name:
        of_a_pair = OF_A_PAIR.get(f'{says.method}+crld', of_a_pair)
    check(distiller, method | of_a_pair.get(says.pair, {}))


@pytest.mark.parametrize('method, pair', TABLES)
def test_hyperparameters_of_a_pair_in_the_table_of_a_method(method, pair):
    distiller = DISTILLERS.build(TABLES[method, pair])
    of_all = (IMAGENET if pair.endswith('_imagenet') and 'tiny' not in pair else CIFAR)[method]
    check(distiller, of_all | OF_A_PAIR.get(method, {}).get(pair, {}))


@pytest.mark.parametrize('method', sorted(OF_A_PAIR.keys() & {method for method, _ in TABLES}))
def test_table_of_a_method_has_every_published_pair(method):
    assert OF_A_PAIR[method].keys() <= {pair for of, pair in TABLES if of == method}


@pytest.mark.parametrize(
    'name',
    [
        name
        for name, says in RECIPES.items()
        if not any(
            part in name for part in ('deit', 'swin', 'regnet', 'bit', 'sskdhead', 't2t', 'pit-t', 'pvt', '300e')
        )
        and name not in [f'{m}/{m}_{net}_imagenet' for m in ('tf_nkd', 'uskd') for net in ('mbv2', 'shuv2')]
    ],
)
def test_schedule(name):
    says, gamma = RECIPES[name], 0.1
    if says.dataset == 'imagenet':
        lr, batch, decay, epochs, milestones = 0.2, 512, 1e-4, 100, [30, 60, 90]
        if says.method == 'mlld' and says.student != 'mbv1':
            lr = 0.1
        elif says.method in ('nkd', 'tf_nkd', 'uskd', 'mgd', 'reviewkd', 'crd'):
            lr, batch = 0.1, 256
    elif 'vitl' in name:
        lr, batch, decay, epochs, milestones = 0.025, 32, 5e-4, 100, [30, 60, 90]
    elif says.pair in ('r34_cifar100', 'r34_r18_cifar100'):
        lr, batch, decay, epochs, milestones, gamma = 0.1, 128, 5e-4, 200, [60, 120, 160], 0.2
    else:
        lr, batch, decay, epochs, milestones = 0.05, 64, 5e-4, 240, [150, 180, 210]
        if says.student in SLOW_STUDENTS or '/mlld+crld_' in name:
            lr = 0.01
    cfg = load(name)
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=lr, momentum=0.9, weight_decay=decay, fused=True)
    assert cfg.auto_scale_lr.base_batch_size == batch
    assert cfg.param_scheduler == dict(type='MultiStepLR', by_epoch=True, milestones=milestones, gamma=gamma)
    assert cfg.train_cfg.max_epochs == epochs


def of_readme(readme: str, method: str) -> dict[str, str]:
    """The numbers in a method's row, by recipe."""
    (row,) = re.findall(rf'^\| `{METHODS[method]}` \|.*$', readme, re.MULTILINE)
    *_, cifar, imagenet, _ = row.split('|')
    pairs = ('r56_r20_cifar100', 'r32x4_r8x4_cifar100', 'r34_r18_imagenet')
    numbers = re.findall(r'\d\d\.\d\d|-', cifar)
    return {
        f'{method}_{pair}': number for pair, number in zip(pairs, [*(numbers * 2)[:2], imagenet.strip()], strict=True)
    }


@pytest.mark.parametrize('name', RECIPES)
def test_published_number_is_the_table_s(name, root):
    text = ast.get_docstring(ast.parse(LEAVES[name].read_text(encoding='utf-8')))
    stated = re.search(r'^Published top-1: (\d\d\.\d\d)?', text, re.MULTILINE)[1]
    columns, *rows = (line.split() for line in PUBLISHED.strip().splitlines())
    table = {f'{method}_{row[0]}': number for row in rows for method, number in zip(columns, row[1:], strict=True)}
    table |= {f'ce_{network}_cifar100': number for network, number in re.findall(r'(\S+) ([\d.]+)', OF_ONE_NETWORK)}
    table |= {key: f'{number:.2f}' for key, number in OTHERS_PUBLISHED.items()}
    if RECIPES[name].method not in CIFAR | IMAGENET:  # then the table is README's
        table |= of_readme((root / 'README.md').read_text(encoding='utf-8'), RECIPES[name].method)
    expected = table.get(Path(name).name, '-')
    assert stated == (None if expected == '-' else expected)


class Line(BaseModel):
    """A model of one weight."""

    def __init__(self) -> None:
        super().__init__(data_preprocessor=None)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return dict(loss=self.weight.sum())


def learning_rates(name: str, work_dir: Path, batch: int) -> list[float]:
    """The learning rate of each epoch, of one batch each, as the Runner sets it."""
    schedule = Config.fromfile(CONFIGS / '_base_' / 'schedules' / f'{name}.py')
    runner = Runner(
        Line(),
        str(work_dir),
        default_scope='crld_zoo',
        experiment_name=name,
        log_level='WARNING',
        train_dataloader=dict(
            batch_size=batch,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(type='SyntheticImages', num_images=batch, num_classes=2, size=2),
            collate_fn=dict(type='as_batch'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=schedule.train_cfg.max_epochs),
        optim_wrapper=schedule.optim_wrapper,
        param_scheduler=schedule.param_scheduler,
        auto_scale_lr=schedule.auto_scale_lr,
    )
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    rates = []
    for _ in range(schedule.train_cfg.max_epochs):
        rates.append(runner.optim_wrapper.get_lr()['lr'][0])
        runner.optim_wrapper.step()
        for scheduler in runner.param_schedulers:
            scheduler.step()
    return rates


def steps(first: float, epochs: int, *milestones: int) -> list[float]:
    """The learning rate of each epoch: a tenth after each of the milestones, epochs counted from 1."""
    return [first * 0.1 ** sum(epoch > milestone for milestone in milestones) for epoch in range(1, epochs + 1)]


@pytest.mark.parametrize(
    'schedule, batch, expected',
    [
        ('cifar_240e', 64, steps(0.05, 240, 150, 180, 210)),
        ('cifar_240e_lr0.01', 64, steps(0.01, 240, 150, 180, 210)),
        ('cifar_200e_bs128', 128, [0.1 * 0.2 ** ((e > 60) + (e > 120) + (e > 160)) for e in range(1, 201)]),
        ('cifar_300e', 128, [0.05 * (1 + math.cos(math.pi * epoch / 300)) for epoch in range(300)]),
        ('tiny_imagenet_100e', 32, steps(0.025, 100, 30, 60, 90)),
        ('imagenet_100e', 512, steps(0.2, 100, 30, 60, 90)),
        ('imagenet_100e', 64, steps(0.025, 100, 30, 60, 90)),
        ('imagenet_100e_lr0.1', 512, steps(0.1, 100, 30, 60, 90)),
        ('imagenet_100e_bs256', 256, steps(0.1, 100, 30, 60, 90)),
        ('imagenet_300e_mbv2', 256, [0.045 * 0.98**epoch for epoch in range(300)]),
    ],
)
def test_learning_rate_of_each_epoch(schedule, batch, expected, tmp_path):
    assert learning_rates(schedule, tmp_path, batch) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    'schedule, batch, highest, last',
    [
        ('imagenet_300e_adamw', 1024, 1e-3, 1e-5),
        ('cifar_300e_adamw', 128, 5e-4, 5e-6),
        ('finetune_100e', 64, 0.01, 0),
    ],
)
def test_warm_up_and_decay(schedule, batch, highest, last, tmp_path):
    rates = learning_rates(schedule, tmp_path, batch)
    assert rates[0] < highest / 50
    assert max(rates) == pytest.approx(highest, rel=0.01)
    assert rates[-1] == pytest.approx(last, abs=highest / 100)


@pytest.mark.parametrize(
    'dataset, size, padding, mean, std',
    [
        ('cifar100', 32, 4, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        ('tiny_imagenet', 64, 8, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_views_and_normalization(dataset, size, padding, mean, std):
    preprocessor = Config.fromfile(CONFIGS / '_base_' / 'datasets' / f'{dataset}.py').data_preprocessor
    weak = [dict(type='RandomCrop', size=size, padding=padding), dict(type='RandomFlip')]
    assert preprocessor.views.weak == weak
    assert preprocessor.views.strong == [*weak, dict(type='RandAugment'), dict(type='Cutout')]
    assert preprocessor.mean == pytest.approx([255 * value for value in mean], rel=1e-9)
    assert preprocessor.std == pytest.approx([255 * value for value in std], rel=1e-9)
    assert not preprocessor.get('to_rgb', False)
