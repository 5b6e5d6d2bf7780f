"""Your own images, few of them labeled: ResNet34 teaches ResNet18 on all of them, with KD decorated by CRLD.

The images without label lie in data/my_images/unlabeled, flat or in folders. A quarter of each batch is labeled. The
cross-entropy is the mean over the labeled images; the distillation loss counts every image.
The teacher is that of the labeled images alone: configs/your_data/ce_r34_folder.py. docs/few_labels.md is the page.
Source: KD and CRLD as in the ImageNet recipes of this pair. Nothing in it is tuned for your images.

python tools/train.py configs/your_data/kd+crld_r34_r18_few_labels.py
"""

_base_ = 'dkd+crld_r34_r18_folder.py'

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=dict(type='KD', temperature=1.0)))
train_dataloader = dict(
    dataset=dict(unlabeled=f'{_base_.data_root}/unlabeled'),
    batch_sampler=dict(type='LabeledShareBatchSampler', share=0.25),
)
