"""Whether every method trains: ResNet56 -> ResNet20, one epoch of 10,000 images of CIFAR-100, one seed.

Teacher, data and paths are those of ``short_cifar100.py``, and so are the rows: all of them with the first seed, and
the methods that need something of their own. Here:

- 100 images of each class, the full test set after the epoch. One epoch has no best one.
- No row measures the teacher before it trains, which would take longer than the epoch; SSKDHead's row does.
- No learning rate falls, and no method warms up: each counts at its full weight from the first step, which is more than
  some recipes ask of an untrained student. "GKD, warm-up" is GKD as its recipe has it, growing over 10 epochs.
- "untrained" is the control: CE with a learning rate of 0, so the first weights with the epoch's batch statistics. The
  first weights are the same in every row but SimKD's, whose head is the teacher's.
- The loss is logged every 10 steps: a log's first entry is the mean of steps 1 to 10, its last that of 141 to 150.
- SSKDHead is SSKD's first stage. It trains a head of the teacher and leaves the teacher as it is: its accuracy is the
  teacher's. SSKD starts from it: with one job at a time, or with the rows in this order, it is there by then.
- Sequential KD, TAKD and function matching are left out: the first two are KD in two trainings, the last is KD on mixed
  images. Dense is for segmentation.

python tools/compare.py configs/compare/one_epoch_cifar100.py
"""

_base_ = 'short_cifar100.py'

seeds = [0]
work_dir = 'work_dirs/one_epoch_cifar100'
share = dict(
    cfg_options={
        'model.student.model': 'crld_zoo::resnet20',
        'train_dataloader.dataset.labels_per_class': 100,
        'train_cfg.max_epochs': 1,
        'default_hooks.checkpoint.save_best': None,
        'default_hooks.logger.interval': 10,
        'default_hooks.teacher_accuracy': None,
    }
)
rows = {
    'untrained': dict(
        recipe='crld_zoo::cross_entropy/ce_r20_cifar100.py', cfg_options={'optim_wrapper.optimizer.lr': 0.0}
    ),
    'SSKDHead': dict(
        recipe='crld_zoo::sskdhead/sskdhead_r56_cifar100.py',
        cfg_options={
            'model.student.model': 'crld_zoo::resnet56',
            'model.student.checkpoint': 'data/checkpoints/cifar100_resnet56.pth',
            'model.data_preprocessor.mean': [129.285, 124.0575, 112.4295],
            'model.data_preprocessor.std': [68.1615, 65.382, 70.4055],
        },
    ),
    'KD+CTKD+LS': dict(
        recipe='crld_zoo::logit_standardization/ctkd+ls_r56_r20_cifar100.py',
        cfg_options={'model.distiller.distiller.decay_loops': 1},
    ),
    'GKD, warm-up': 'crld_zoo::gkd/gkd_r56_r20_cifar100.py',
    'CMKD': 'crld_zoo::cmkd/cmkd_r56_r20_cifar100.py',
    'KDIGA': 'crld_zoo::kdiga/kdiga_r56_r20_cifar100.py',
    'SimKD': 'crld_zoo::simkd/simkd_r56_r20_cifar100.py',
    'SSKD': dict(
        recipe='crld_zoo::sskd/sskd_r56_r20_cifar100.py',
        cfg_options={'model.distiller.head': 'work_dirs/one_epoch_cifar100/SSKDHead/seed_0/epoch_1.pth'},
    ),
}
