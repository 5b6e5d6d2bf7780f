"""Few labels: the headline rows for ResNet56 -> ResNet8 with 5, 10, 25 and 50 % of the labels of CIFAR-100.

Teacher and paths are those of ``short_cifar100.py``. "KD 10%" trains on the images whose labels are kept, "unlabeled"
on all 50,000, the others without label: what the teacher says of them counts, the cross-entropy is of the labeled ones.
"unlabeled" shuffles them all; "unlabeled, share" has the same number of labeled images in every batch: a quarter, or as
many as there are. "8 epochs" trains on the labeled images alone, for as many epochs as short_cifar100.py. CE has no use
for images without label, so it has no such rows; each row is held against CE of its share of labels.

Every run sees 200,000 images at most (short_cifar100: 160,000): 80, 40, 16 and 8 epochs of the labeled images, or 4 of
all. An epoch of "share" is one pass over the unlabeled images; of 5 and 10 % it takes 3, which are 180,000 images. The
learning rate falls to a tenth after 5, 6 and 7 eighths, and DKD's warm-up is a twelfth, as 20 epochs are of 240. Which
labels are kept does not depend on the seed.

python tools/compare.py configs/compare/labels_cifar100.py --jobs 2
"""

seeds = [0, 1, 2]
work_dir = 'work_dirs/labels_cifar100'
share = dict(
    cfg_options={
        'model.student.model': 'crld_zoo::resnet8',
        'model.teacher.checkpoint': 'data/checkpoints/cifar100_resnet56.pth',
        'model.teacher.mean': [129.285, 124.0575, 112.4295],
        'model.teacher.std': [68.1615, 65.382, 70.4055],
        'model.teacher.expected_top1': 72.63,
    }
)
# Of each row: the recipe, and where its warm-up stands.
methods = {
    'CE': ('cross_entropy/ce_r20_cifar100.py', None),
    'KD': ('kd/kd_r56_r20_cifar100.py', None),
    'KD+CRLD': ('crld/kd+crld_r56_r20_cifar100.py', None),
    'DKD': ('dkd/dkd_r56_r20_cifar100.py', 'model.distiller.warmup'),
    'DKD+CRLD': ('crld/dkd+crld_r56_r20_cifar100.py', 'model.distiller.distiller.warmup'),
}
rows, reference = {}, {}
for percent, epochs_alone in ((5, 80), (10, 40), (25, 16), (50, 8)):
    steps_alone = percent * 500 // 64 + 1
    share_labeled = max(0.25, percent / 100)
    steps_share = (50000 - percent * 500) / (64 - 64 * share_labeled)
    for others, steps, epochs in (
        ('', steps_alone, epochs_alone),
        (' 8 epochs', steps_alone, 8),
        (' unlabeled', 782, 4),
        (' unlabeled, share', int(steps_share) + 1, int(200000 // (64 * steps_share))),
    ):
        for method, (recipe, warmup) in methods.items():
            if (method == 'CE' and 'unlabeled' in others) or (others == ' 8 epochs' and epochs_alone == 8):
                continue
            options = {
                'train_dataloader.dataset.fraction': percent / 100,
                'train_dataloader.dataset.others': 'unlabeled' if 'unlabeled' in others else 'drop',
                'train_cfg.max_epochs': epochs,
                'train_cfg.val_interval': max(1, epochs // 8),
                'param_scheduler.by_epoch': False,
                'param_scheduler.milestones': [epochs * steps * eighths // 8 for eighths in (5, 6, 7)],
                'default_hooks.checkpoint.interval': max(1, epochs // 8),
            }
            if others.endswith('share'):
                options['train_dataloader.batch_sampler'] = dict(type='LabeledShareBatchSampler', share=share_labeled)
            if warmup is not None:
                options[warmup] = epochs / 12
            name = f'{method} {percent}%{others}'
            rows[name] = dict(recipe=f'crld_zoo::{recipe}', cfg_options=options)
            if method != 'CE' or others:
                reference[name] = f'CE {percent}%'
