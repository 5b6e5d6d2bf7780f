"""A sheet that shows what the networks see: training images of a config and the views that are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, set_random_seed
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.functional import to_pil_image

from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.registry import DATASETS, MODELS

_GAP, _LINE = 8, 16  # pixels between the pictures, and of a line of text
_MIN_SIDE, _MAX_SIDE = 128, 256


def view_sheet(cfg: Config, count: int = 8, seed: int = 0) -> Image.Image:
    """Originals and views of some training images, one image a row.

    The images are spread evenly over ``train_dataloader.dataset`` and go through the config's own pipeline, collate
    function and data preprocessor, as in training; the normalization is taken back.

    Args:
        cfg: A config with ``train_dataloader`` and ``model.data_preprocessor``.
        count: How many images.
        seed: Seed of the views.

    Raises:
        InputError: The config has no training set or no preprocessor; an impossible count.
        MissingFileError: The training set is not there.
    """
    if count < 1:
        raise InputError(f'a sheet needs at least one image, not {count}.')
    loader = cfg.get('train_dataloader')
    preprocessor = (cfg.get('model') or {}).get('data_preprocessor')
    for name, part in (('train_dataloader', loader), ('model.data_preprocessor', preprocessor)):
        if part is None:
            raise InputError(f'{cfg.filename or "the config"} has no {name}, so it does not say what the networks see.')
    init_default_scope(cfg.get('default_scope', 'crld_zoo'))
    set_random_seed(seed)
    try:
        dataset = DATASETS.build(loader.dataset)
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
    except InputError:
        raise
    except FileNotFoundError as error:  # of a data set of mmpretrain
        raise MissingFileError(f'the training set is not there: {error}.') from error
    indices = torch.linspace(0, len(dataset) - 1, min(count, len(dataset))).long().tolist()
    batches = dict(dataset=dataset, batch_size=len(indices), num_workers=0, sampler=indices)
    if 'collate_fn' in loader:
        batches['collate_fn'] = loader.collate_fn
    batch = next(iter(Runner.build_dataloader(batches)))
    captions = _class_names(dataset, batch['data_samples'])
    originals = _originals(dataset, indices, batch['inputs'])
    views = _views(MODELS.build(preprocessor), batch, len(indices))
    return draw_sheet({**({'original': originals} if originals else {}), **views}, captions)


def draw_sheet(columns: Mapping[str, Sequence[Image.Image]], captions: Sequence[str]) -> Image.Image:
    """Pictures in columns with a title, one caption a row. Small pictures are enlarged without smoothing.

    Args:
        columns: Pictures by the column's title.
        captions: A text under the first picture of each row.

    Example:
        >>> from PIL import Image
        >>> picture = Image.new('RGB', (32, 32))
        >>> draw_sheet({'weak': [picture], 'strong': [picture]}, ['cat']).mode
        'RGB'
    """
    largest = max(max(picture.size) for pictures in columns.values() for picture in pictures)
    side = min(max(largest, _MIN_SIDE), _MAX_SIDE)
    row_height = side + _LINE + _GAP
    sheet = Image.new('RGB', (_GAP + len(columns) * (side + _GAP), _GAP + _LINE + len(captions) * row_height), 'white')
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for column, (title, pictures) in enumerate(columns.items()):
        left = _GAP + column * (side + _GAP)
        draw.text((left, _GAP // 2), title, 'black', font)
        for row, picture in enumerate(pictures):
            enlarged = max(picture.size) < side
            picture = ImageOps.contain(
                picture, (side, side), Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
            )
            sheet.paste(picture, (left, _GAP + _LINE + row * row_height))
    for row, caption in enumerate(captions):
        draw.text((_GAP, _GAP + _LINE + row * row_height + side), caption, 'black', font)
    return sheet


def _views(preprocessor: torch.nn.Module, batch: dict, count: int) -> dict[str, list[Image.Image]]:
    """The views by name as the preprocessor gives them to the networks, without the normalization.

    A view of several images a sample has a column for each of them.
    """
    inputs = preprocessor(batch, training=True)['inputs']
    if isinstance(inputs, Tensor):
        inputs = {'training': inputs}
    elif not isinstance(inputs, Mapping):
        inputs = {f'view {number}': view for number, view in enumerate(inputs, 1)}
    mean, std = (
        torch.as_tensor(getattr(preprocessor, name, neutral), dtype=torch.float32).view(-1, 1, 1)
        for name, neutral in (('mean', 0), ('std', 1))
    )
    columns = {}
    for name, view in inputs.items():
        images = len(view) // count
        for number in range(images):
            columns[f'{name} {number + 1}' if images > 1 else name] = [
                to_pil_image((image.float() * std + mean).round().clamp(0, 255).to(torch.uint8))
                for image in view[number::images]
            ]
    return columns


def _originals(dataset: Dataset, indices: Sequence[int], inputs: Tensor | Sequence) -> list[Image.Image] | None:
    """The images before anything random: the batch of an in-memory dataset, or what an mmpretrain dataset loads."""
    if isinstance(inputs, Tensor):
        return [to_pil_image(image) for image in inputs]
    if not hasattr(dataset, 'get_data_info'):
        return None
    infos = [dataset.get_data_info(index) for index in indices]
    if all('img_path' in info for info in infos):
        return [ImageOps.exif_transpose(Image.open(info['img_path'])).convert('RGB') for info in infos]
    if all('img' in info for info in infos):
        return [Image.fromarray(info['img']) for info in infos]
    return None


def _class_names(dataset: Dataset, data_samples: Tensor | Sequence) -> list[str]:
    labels = data_samples if isinstance(data_samples, Tensor) else [sample.gt_label for sample in data_samples]
    classes = getattr(dataset, 'metainfo', {}).get('classes')
    return [str(int(label)) if classes is None else classes[int(label)] for label in labels]


def write_sheet(cfg: Config, out: str | Path | None = None, count: int = 8, seed: int = 0) -> Path:
    """:func:`view_sheet` as a PNG file.

    Args:
        cfg: As in :func:`view_sheet`.
        out: The file; None takes ``views.png`` in the config's work directory.
        count: How many images.
        seed: Seed of the views.

    Returns:
        The file.

    Raises:
        InputError: As :func:`view_sheet`; a file that is no ``.png``.
    """
    path = Path(cfg.work_dir, 'views.png') if out is None else Path(out)
    if path.suffix.lower() != '.png':
        raise InputError(f'the sheet is a PNG file, but {path} does not end in .png.')
    sheet = view_sheet(cfg, count, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return path
