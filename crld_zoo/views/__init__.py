"""How an image is seen: operations on whole batches of uint8 images, on the device the batch is on."""

from .base import Identity, PoolOperation, ViewOperation
from .blending import (
    BlendOperation,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    blend,
    brightness,
    color,
    contrast,
    sharpness,
)
from .compose import Views
from .cropping import RandomCrop, RandomFlip, RandomResizedCrop, Resize, crop, flip
from .erasing import Cutout, cutout
from .geometry import (
    AffineOperation,
    Rotate,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    affine,
    rotate,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
)
from .lookup import (
    AutoContrast,
    Equalize,
    Posterize,
    Solarize,
    TableOperation,
    autocontrast,
    equalize,
    look_up,
    posterize,
    solarize,
)
from .normalization import normalize
from .randaugment import FIXMATCH_POOL, RandAugment
from .resampling import resized_crop

__all__ = [
    'FIXMATCH_POOL', 'AffineOperation', 'AutoContrast', 'BlendOperation', 'Brightness', 'Color', 'Contrast', 'Cutout',
    'Equalize', 'Identity', 'PoolOperation', 'Posterize', 'RandAugment', 'RandomCrop', 'RandomFlip',
    'RandomResizedCrop', 'Resize', 'Rotate', 'Sharpness', 'ShearX', 'ShearY', 'Solarize', 'TableOperation',
    'TranslateX', 'TranslateY', 'ViewOperation', 'Views', 'affine', 'autocontrast', 'blend', 'brightness', 'color',
    'contrast', 'crop', 'cutout', 'equalize', 'flip', 'look_up', 'normalize', 'posterize', 'resized_crop', 'rotate',
    'sharpness', 'shear_x', 'shear_y', 'solarize', 'translate_x', 'translate_y']
