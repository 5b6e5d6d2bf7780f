"""How an image is seen: operations on whole batches of uint8 images, on the device the batch is on."""

from .base import Identity, PoolOperation, ViewOperation
from .bitwise import Posterize, Solarize, posterize, solarize
from .blending import (
    BlendOperation,
    Brightness,
    Color,
    Contrast,
    Grayscale,
    Sharpness,
    blend,
    brightness,
    color,
    contrast,
    sharpness,
)
from .blur import GaussianBlur, gaussian_blur
from .compose import Views
from .cropping import RandomCrop, RandomFlip, RandomResizedCrop, Resize, crop, flip
from .erasing import Cutout, cutout
from .geometry import (
    AffineOperation,
    Rotate,
    Rotations,
    RowOperation,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    affine,
    move_rows,
    rotate,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
)
from .keys import SampleKeys, uniform
from .labels import targets
from .lookup import (
    AutoContrast,
    Equalize,
    TableOperation,
    autocontrast,
    equalize,
    look_up,
)
from .normalization import check_normalization, normalize
from .preprocessor import DrawnViews, ViewPreprocessor
from .randaugment import FIXMATCH_POOL, RandAugment
from .resampling import resized_crop

__all__ = [
    'FIXMATCH_POOL',
    'AffineOperation',
    'AutoContrast',
    'BlendOperation',
    'Brightness',
    'Color',
    'Contrast',
    'Cutout',
    'DrawnViews',
    'Equalize',
    'GaussianBlur',
    'Grayscale',
    'Identity',
    'PoolOperation',
    'Posterize',
    'RandAugment',
    'RandomCrop',
    'RandomFlip',
    'RandomResizedCrop',
    'Resize',
    'Rotate',
    'Rotations',
    'RowOperation',
    'SampleKeys',
    'Sharpness',
    'ShearX',
    'ShearY',
    'Solarize',
    'TableOperation',
    'TranslateX',
    'TranslateY',
    'ViewOperation',
    'ViewPreprocessor',
    'Views',
    'affine',
    'autocontrast',
    'blend',
    'brightness',
    'check_normalization',
    'color',
    'contrast',
    'crop',
    'cutout',
    'equalize',
    'flip',
    'gaussian_blur',
    'look_up',
    'move_rows',
    'normalize',
    'posterize',
    'resized_crop',
    'rotate',
    'sharpness',
    'shear_x',
    'shear_y',
    'solarize',
    'targets',
    'translate_x',
    'translate_y',
    'uniform',
]
