"""What a teacher's cache needs of a run: to be told what decides the logits that it keeps."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook

from crld_zoo.datasets import fingerprint, numbers_of
from crld_zoo.errors import InputError
from crld_zoo.registry import HOOKS

from .unwrapped import unwrapped


@HOOKS.register_module()
class TeacherCacheHook(Hook):
    """Opens the cache of a model's teacher for the run, and closes it.

    Two runs may share a cache where the following agree: the teacher (weights, input, classes) and how it runs, the
    images, how they are loaded, the views, the seed of the data and the period of the views, the kind of device and the
    precision.

    Raises:
        InputError: The cache holds the logits of something else, and what differs.
    """

    def before_train_epoch(self, runner) -> None:
        """Open it, when the seed of the data is settled."""
        model = unwrapped(runner.model)
        cache = getattr(model, 'teacher_cache', None)
        if cache is None or self._opened:
            return
        self._opened = True
        preprocessor, loader = model.data_preprocessor, runner.train_dataloader
        if not getattr(preprocessor, 'takes_keys', False):
            raise InputError(
                f'model.teacher.cache keeps logits by the keys of the samples, which {type(preprocessor).__name__} '
                'does not pass on: use a ViewPreprocessor.'
            )
        views, given = preprocessor.views, model.distiller.teacher_views
        passes, period = -(-runner.max_iters // len(loader)), runner.train_loop.views_period
        cache.open(
            samples=numbers_of(loader.dataset)[2],
            classes=model.teacher.num_classes,
            decides=self._decides(runner, model),
            views={view: 'as loaded' if views is None else views.definition(view) for view in given},
            images={view: views.images_of(view) for view in given if views is not None and view in views},
            passes=passes if period is None else min(passes, period),
        )

    _opened = False

    def after_train(self, runner) -> None:
        """Close it, and say what it saved."""
        model = unwrapped(runner.model)
        cache = getattr(model, 'teacher_cache', None)
        if cache is not None:
            cache.close()
            runner.logger.info(
                f"the teacher's cache {cache.folder}: {cache.read} predictions read, {cache.computed} computed"
            )

    @staticmethod
    def _decides(runner, model) -> dict[str, str]:
        preprocessor, config = model.data_preprocessor, runner.cfg.get('model', {}).get('teacher', {})
        running = {name: config[name] for name in ('fold', 'compile') if isinstance(config, dict) and name in config}
        device = next(model.parameters()).device.type
        tf32 = device == 'cuda' and (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        seed = runner.message_hub.get_info('data_seed') if preprocessor.seed is None else preprocessor.seed
        loading = str(_without_places(runner.cfg.train_dataloader.dataset))
        if 'pipeline' in loading:  # whose images are views by their place
            loading += f' as {", ".join(preprocessor.view_names)}'
        return {
            'teacher': model.teacher.fingerprint(),
            'how the teacher runs': str(running),
            'normalization': f'mean {preprocessor.mean}, std {preprocessor.std}, to_rgb {preprocessor.to_rgb}',
            'images': fingerprint(runner.train_dataloader.dataset),
            'loading': loading,
            'seed of the data': str(seed),
            'period of the views': str(runner.train_loop.views_period),
            'device': f'{device}, channels_last {preprocessor.channels_last}',
            'precision': f'autocast {_autocast(runner, device)}, TF32 {tf32}',
        }


def _autocast(runner, device: str) -> str:
    with runner.optim_wrapper.optim_context(runner.model):
        return str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else 'off'


def _without_places(config):
    """A data set's config as far as it decides pixels: its pipelines."""
    if isinstance(config, dict):
        kept = {name: _without_places(value) for name, value in config.items() if name in ('dataset', 'datasets')}
        return {**kept, **{name: value for name, value in config.items() if name in ('pipeline', 'image_size')}}
    return [_without_places(part) for part in config] if isinstance(config, (list, tuple)) else {}
