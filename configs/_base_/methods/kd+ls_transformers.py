"""KD on standardized logits by pair, for transformers on CIFAR-100 (Sun et al., CVPR 2024)."""

kd_ls = {
    f'r56_{student}_cifar100': dict(
        type='LogitStandardization',
        distiller=dict(type='KD', temperature=2.0, ce_weight=1.0, kd_weight=weight),
    )
    for student, weight in {'deit-t': 10.0, 't2t-7': 9.0, 'pit-t': 9.0, 'pvt-t': 9.0}.items()
}
