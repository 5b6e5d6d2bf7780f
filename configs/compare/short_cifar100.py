"""Every method on a short schedule: ResNet56 -> ResNet8 on 20,000 images of CIFAR-100, 8 epochs, three seeds.

The teacher is a public checkpoint (chenyaofo/pytorch-cifar-models, ResNet56, 72.63 %; 1x1 convolutions as shortcuts,
its own mean and standard deviation), expected as ``data/checkpoints/cifar100_resnet56.pth``; the data as the recipes
want it. Both paths are options: ``--cfg-options model.teacher.checkpoint=… train_dataloader.dataset.data_root=…`` (and
``val_dataloader``, ``test_dataloader``).

The recipes are those of ResNet56 -> ResNet20 with another student; batch 64, SGD from 0.05, momentum 0.9, weight decay
5e-4 are theirs. Here:

- 200 images of each class, the same under every seed; the full test set, after each epoch.
- The learning rate falls to a tenth after epochs 5, 6 and 7 of 8 (150, 180 and 210 of 240).
- Warm-ups of 20 and of 10 epochs of 240 would be two thirds and a third of an epoch. They count whole epochs and are
  at their full weight in the last one, so they become 1: none. CTKD's temperature has its last strength from the start.
- Sequential KD (LogitMSE, then KD from its student) is left out: it is two trainings.
- MLLD+CRLD starts from 0.01, as its recipe does.
- The rows after DKD+LS have one seed for now.

python tools/compare.py configs/compare/short_cifar100.py --jobs 2
"""

seeds = [0, 1, 2]
reference = 'CE'
work_dir = 'work_dirs/short_cifar100'
share = dict(
    cfg_options={
        'model.student.model': 'crld_zoo::resnet8',
        'model.teacher.checkpoint': 'data/checkpoints/cifar100_resnet56.pth',
        'model.teacher.mean': [129.285, 124.0575, 112.4295],
        'model.teacher.std': [68.1615, 65.382, 70.4055],
        'model.teacher.expected_top1': 72.63,
        'train_dataloader.dataset.labels_per_class': 200,
        'train_cfg.max_epochs': 8,
        'param_scheduler.milestones': [5, 6, 7],
    }
)
# A warm-up is an option of the method, which a decorator holds as its ``distiller``.
no_warmup = {'model.distiller.warmup': 1}
no_warmup_inside = {'model.distiller.distiller.warmup': 1}

rows = {
    'CE': 'crld_zoo::cross_entropy/ce_r20_cifar100.py',
    'KD': 'crld_zoo::kd/kd_r56_r20_cifar100.py',
    'KD+CRLD': 'crld_zoo::crld/kd+crld_r56_r20_cifar100.py',
    'DKD': dict(recipe='crld_zoo::dkd/dkd_r56_r20_cifar100.py', cfg_options=no_warmup),
    'DKD+CRLD': dict(recipe='crld_zoo::crld/dkd+crld_r56_r20_cifar100.py', cfg_options=no_warmup_inside),
    'NKD': 'crld_zoo::nkd/nkd_r56_r20_cifar100.py',
    'NKD+CRLD': 'crld_zoo::crld/nkd+crld_r56_r20_cifar100.py',
    'NormKD': 'crld_zoo::normkd/normkd_r56_r20_cifar100.py',
    'NormKD+CRLD': 'crld_zoo::crld/normkd+crld_r56_r20_cifar100.py',
    'NormKD+DKD': dict(recipe='crld_zoo::normkd_dkd/normkd_dkd_r56_r20_cifar100.py', cfg_options=no_warmup_inside),
    'NormKD+DKD+CRLD': dict(
        recipe='crld_zoo::normkd_dkd/normkd_dkd_r56_r20_cifar100.py',
        cfg_options={
            'model.distiller': dict(
                _delete_=True,
                type='CRLD',
                distiller=dict(type='NormKD', distiller=dict(type='DKD', alpha=7.0, beta=2.0, warmup=1)),
            )
        },
    ),
    'MLLD': 'crld_zoo::mlld/mlld_r56_r20_cifar100.py',
    'MLLD+CRLD': 'crld_zoo::crld/mlld+crld_r56_r20_cifar100.py',
    'KD+LS': 'crld_zoo::logit_standardization/kd+ls_r56_r20_cifar100.py',
    'DKD+LS': dict(recipe='crld_zoo::logit_standardization/dkd+ls_r56_r20_cifar100.py', cfg_options=no_warmup_inside),
    'MLLD+LS': dict(recipe='crld_zoo::logit_standardization/mlld+ls_r56_r20_cifar100.py', seeds=[0]),
    'LogitMSE': dict(recipe='crld_zoo::logit_mse/logit_mse_r56_r20_cifar100.py', seeds=[0]),
    'DIST': dict(recipe='crld_zoo::dist/dist_r56_r20_cifar100.py', seeds=[0]),
    'WSLD': dict(recipe='crld_zoo::wsld/wsld_r56_r20_cifar100.py', seeds=[0]),
    'IKL': dict(recipe='crld_zoo::ikl/ikl_r56_r20_cifar100.py', cfg_options=no_warmup, seeds=[0]),
    'GKL': dict(recipe='crld_zoo::gkl/gkl_r56_r20_cifar100.py', cfg_options=no_warmup, seeds=[0]),
    'GKD': dict(recipe='crld_zoo::gkd/gkd_r56_r20_cifar100.py', cfg_options=no_warmup, seeds=[0]),
    'RLD': dict(recipe='crld_zoo::rld/rld_r56_r20_cifar100.py', cfg_options=no_warmup, seeds=[0]),
    'LDRLD': dict(recipe='crld_zoo::ldrld/ldrld_r56_r20_cifar100.py', seeds=[0]),
    'BKL': dict(recipe='crld_zoo::bkl/bkl_r56_r20_cifar100.py', seeds=[0]),
    'TfNKD': dict(
        recipe='crld_zoo::cross_entropy/ce_r20_cifar100.py',
        cfg_options={'model.distiller': dict(_delete_=True, type='TfNKD')},
        seeds=[0],
    ),
    'USKD': dict(  # from the last stage but one, as published
        recipe='crld_zoo::cross_entropy/ce_r20_cifar100.py',
        cfg_options={'model.distiller': dict(_delete_=True, type='USKD', tap='stage2')},
        seeds=[0],
    ),
    'DeepKD': dict(recipe='crld_zoo::deepkd/deepkd_r56_r20_cifar100.py', cfg_options=no_warmup, seeds=[0]),
    'FitNet': dict(recipe='crld_zoo::fitnet/fitnet_r56_r20_cifar100.py', seeds=[0]),
    'AT': dict(recipe='crld_zoo::at/at_r56_r20_cifar100.py', seeds=[0]),
    'SP': dict(recipe='crld_zoo::sp/sp_r56_r20_cifar100.py', seeds=[0]),
    'NST': dict(recipe='crld_zoo::nst/nst_r56_r20_cifar100.py', seeds=[0]),
    'VID': dict(recipe='crld_zoo::vid/vid_r56_r20_cifar100.py', seeds=[0]),
    'PKT': dict(recipe='crld_zoo::pkt/pkt_r56_r20_cifar100.py', seeds=[0]),
    'RKD': dict(recipe='crld_zoo::rkd/rkd_r56_r20_cifar100.py', seeds=[0]),
    'CC': dict(recipe='crld_zoo::cc/cc_r56_r20_cifar100.py', seeds=[0]),
    'CRD': dict(recipe='crld_zoo::crd/crd_r56_r20_cifar100.py', seeds=[0]),
    'RRD': dict(recipe='crld_zoo::rrd/rrd_r56_r20_cifar100.py', seeds=[0]),
    'CATKD': dict(recipe='crld_zoo::catkd/catkd_r56_r20_cifar100.py', seeds=[0]),
    'MGD': dict(recipe='crld_zoo::mgd/mgd_r56_r20_cifar100.py', seeds=[0]),
    'OFD': dict(recipe='crld_zoo::ofd/ofd_r56_r20_cifar100.py', seeds=[0]),
    'ReviewKD': dict(recipe='crld_zoo::reviewkd/reviewkd_r56_r20_cifar100.py', cfg_options=no_warmup, seeds=[0]),
    'KD+CTKD': dict(
        recipe='crld_zoo::ctkd/ctkd_r56_r20_cifar100.py', cfg_options={'model.distiller.decay_loops': 1}, seeds=[0]
    ),
    'KD+SDD': dict(recipe='crld_zoo::sdd/kd+sdd_r56_r20_cifar100.py', seeds=[0]),
    'KD+AT': dict(recipe='crld_zoo::sum/sum_r56_r20_cifar100.py', seeds=[0]),
}
