"""The headline rows for longer: ResNet56 -> ResNet20 on all of CIFAR-100, 30 epochs, two seeds.

Teacher, data and paths are those of ``short_cifar100.py``; everything else is the recipes'. Scaled from 240 epochs to
30: the learning rate falls to a tenth after epochs 19, 23 and 26 (150, 180 and 210), and DKD's warm-up of 20 epochs
takes 2.5.

python tools/compare.py configs/compare/headline_cifar100.py --jobs 2
"""

seeds = [0, 1]
reference = 'CE'
work_dir = 'work_dirs/headline_cifar100'
share = dict(
    cfg_options={
        'model.teacher.checkpoint': 'data/checkpoints/cifar100_resnet56.pth',
        'model.teacher.mean': [129.285, 124.0575, 112.4295],
        'model.teacher.std': [68.1615, 65.382, 70.4055],
        'model.teacher.expected_top1': 72.63,
        'train_cfg.max_epochs': 30,
        'param_scheduler.milestones': [19, 23, 26],
    }
)
rows = {
    'CE': 'crld_zoo::cross_entropy/ce_r20_cifar100.py',
    'KD': 'crld_zoo::kd/kd_r56_r20_cifar100.py',
    'KD+CRLD': 'crld_zoo::crld/kd+crld_r56_r20_cifar100.py',
    'DKD': dict(recipe='crld_zoo::dkd/dkd_r56_r20_cifar100.py', cfg_options={'model.distiller.warmup': 2.5}),
    'DKD+CRLD': dict(
        recipe='crld_zoo::crld/dkd+crld_r56_r20_cifar100.py', cfg_options={'model.distiller.distiller.warmup': 2.5}
    ),
}
