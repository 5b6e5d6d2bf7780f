"""How an image is seen: operations on whole batches of uint8 images, on the device the batch is on."""

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
from .base import PoolOperation, ViewOperation
from .blending import Color, Sharpness, color, sharpness
from .compose import Views
from .cropping import RandomCrop, RandomFlip, RandomResizedCrop, Resize, crop, flip
from .erasing import Cutout, cutout
from .normalization import normalize
from .randaugment import FIXMATCH_POOL, RandAugment
from .resampling import resized_crop
from .lookup import (
    AutoContrast,
    Brightness,
    Contrast,
    Equalize,
    Identity,
    Posterize,
    Solarize,
    TableOperation,
    autocontrast,
    brightness,
    contrast,
    equalize,
    look_up,
    posterize,
    solarize,
)

__all__ = [
    'FIXMATCH_POOL', 'AffineOperation', 'AutoContrast', 'Brightness', 'Color', 'Contrast', 'Cutout', 'Equalize',
    'Identity', 'PoolOperation', 'Posterize', 'RandAugment', 'RandomCrop', 'RandomFlip', 'RandomResizedCrop', 'Resize',
    'Rotate', 'Sharpness', 'ShearX', 'ShearY', 'Solarize', 'TableOperation', 'TranslateX', 'TranslateY',
    'ViewOperation', 'Views', 'affine', 'autocontrast', 'brightness', 'color', 'contrast', 'crop', 'cutout', 'equalize',
    'flip', 'look_up', 'normalize', 'posterize', 'resized_crop', 'rotate', 'sharpness', 'shear_x', 'shear_y',
    'solarize', 'translate_x', 'translate_y']
