"""KD on standardized logits (Sun et al., CVPR 2024): the values of the paper's README, the same for all pairs.

Names of its logs say otherwise for some: temperature 3 and weight 9 for VGG13 -> VGG8, VGG13 -> MobileNetV2,
ResNet32x4 -> WRN-16-2 and WRN-40-2, WRN-40-2 -> MobileNetV2; 4 and 12 for ResNet110 -> ResNet20; 3 and 1 for ResNet50
-> MobileNetV2.
"""

distiller = dict(
    type='LogitStandardization',
    distiller=dict(type='KD', temperature=2.0, kd_weight=9.0),
)
