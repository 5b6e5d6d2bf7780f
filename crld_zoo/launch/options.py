"""Options of a config: how a command line writes them, and whether they are ones that anything reads."""

from __future__ import annotations

import ast
import contextlib
import inspect
import logging
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import FUNCTIONS, Registry
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from crld_zoo import registry as registries
from crld_zoo.errors import InputError, UnknownNameError, nearest_names

# What MMEngine's Runner takes out of a part before it builds it.
_TAKEN_OUT = {
    'optim_wrapper': ('constructor', 'paramwise_cfg', 'optimizer'),
    'param_scheduler': ('convert_to_iter_based', 'epoch_length'),
    'hooks': ('priority',),
    'dataloader': ('dataset', 'num_batch_per_epoch', 'disable_subprocess_warning'),
}
_BY_DEFAULT = {
    'optim_wrapper': 'OptimWrapper',
    'val_cfg': 'ValLoop',
    'test_cfg': 'TestLoop',
    'log_processor': 'LogProcessor',
    'model.teacher': 'Teacher',
    'default_hooks.runtime_info': 'RuntimeInfoHook',  # MMEngine builds the hook of such a name from no type
    'default_hooks.timer': 'IterTimerHook',
    'default_hooks.sampler_seed': 'DistSamplerSeedHook',
    'default_hooks.logger': 'LoggerHook',
    'default_hooks.param_scheduler': 'ParamSchedulerHook',
    'default_hooks.checkpoint': 'CheckpointHook',
}
# What MMEngine and PyTorch read one by one, so that no signature tells it.
_READ = {
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    'optim_wrapper.paramwise_cfg': (
        *('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult', 'dwconv_decay_mult'),
        *('dcn_offset_lr_mult', 'bypass_duplicate'),
    ),
}
_NEVER_WRITTEN = (torch.Tensor, nn.Module)
_KINDS = {int: 'a whole number', float: 'a number', bool: 'True or False', str: 'a text', type(None): 'None'}
_AT_THE_TOP = {'work_dir', 'custom_imports', 'find_unused_parameters', 'sync_bn', 'allow_other_classes'}
_OF_THE_RUNNER = {'model_wrapper_cfg', 'runner_type', 'compile', 'activation_checkpointing', 'efficient_conv_bn_eval'}
READ_AT_THE_TOP = {*inspect.signature(Runner).parameters, *_AT_THE_TOP, *_OF_THE_RUNNER} - {'self', 'cfg'}
"""The names at the top of a config that somebody reads; others are variables of the file."""


class ConfigOptions(DictAction):
    """``KEY=VALUE …``: as MMEngine's, and dicts and quoted text as Python writes them; spaces are kept.

    >>> import argparse
    >>> parser = argparse.ArgumentParser()
    >>> _ = parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    >>> parser.parse_args(['--cfg-options', "a.b={'type': 'KD'}", 'c=1e-3', 'd=[1,2]', "e=it's mine"]).cfg_options
    {'a.b': {'type': 'KD'}, 'c': 0.001, 'd': [1, 2], 'e': "it's mine"}
    """

    def __call__(self, parser, namespace, values: Sequence[str], option_string=None) -> None:
        """Parse all that follows the option."""
        setattr(
            namespace, self.dest, {**(getattr(namespace, self.dest, None) or {}), **self.parse(values, option_string)}
        )

    @staticmethod
    def parse(values: Sequence[str], option: str = '--cfg-options') -> dict:
        """The options that texts mean."""
        options = {}
        for text in values:
            key, equals, value = text.partition('=')
            if not equals or not key:
                raise InputError(f"{option} takes KEY=VALUE, and '{text}' has no '='.")
            options[key] = _parse(key, value)
        return options


def _parse(key: str, text: str):
    if text[:1] in '{\'"' and text:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise InputError(f'{key}={text} is no Python value ({error}).') from error
    if not any(character in text for character in ',[]()'):
        return DictAction._parse_int_float_bool(text)
    try:
        return DictAction._parse_iterable(text)
    except AssertionError as error:
        raise InputError(f'{key}={text}: {error}.') from error


def check_names(cfg: Config, options: Mapping) -> None:
    """See that each option belongs to something that is there.

    Raises:
        UnknownNameError: Nothing reads one.
    """
    read = READ_AT_THE_TOP | cfg.keys()
    for key in options:
        first = key.split('.')[0]
        if first not in read:
            raise UnknownNameError(
                f'the option {key} changes nothing: there is no {first} ({nearest_names(first, read)}).'
            )


def check_options(cfg: Config) -> None:
    """See that every part of a config names something known and gives it options that it has, of possible values.

    Parts that take any option (``**kwargs``) say so themselves when they are built.

    Raises:
        UnknownNameError: A type, or an option of it, is misspelled; the nearest names are given.
        InputError: A value of another kind than the option is of; a count below 1 or not whole; half precision on a
            CPU.
    """
    counts = ('train_cfg.max_epochs', 'train_cfg.max_iters', 'train_cfg.val_interval')
    for place in (*counts, *(f'{split}_dataloader.batch_size' for split in ('train', 'val', 'test'))):
        _check_count(cfg, place)
    for place, part, registry, extra in _parts(cfg):
        if 'type' not in part and place in _BY_DEFAULT and place.startswith('default_hooks.'):
            part['type'] = _BY_DEFAULT[place]
        kind = part.get('type') or _BY_DEFAULT.get(place)
        module = registry.get(kind) if isinstance(kind, str) else kind
        if kind is None:
            where, _, name = place.rpartition('.')
            hooks = {known.rpartition('.')[2] for known in _BY_DEFAULT if known.startswith('default_hooks.')}
            near = f' ({nearest_names(name, hooks)})' if where == 'default_hooks' else ''
            raise InputError(f'{place} has no type: say which {registry.name} it is{near}.')
        if module is None:
            near = nearest_names(str(kind), _names(registry))
            raise UnknownNameError(f"{place}.type='{kind}': there is no {registry.name} of this name ({near}).")
        _check_names_of(place, part, _options_of(module), extra)
    for place, reads in _READ.items():
        part = _at(cfg, place)
        if isinstance(part, dict) and 'constructor' not in (cfg.get('optim_wrapper') or {}):
            _check_names_of(place, part, (dict.fromkeys(reads), True), ())
    for place, function in (('randomness', Runner.set_randomness), ('optim_wrapper.clip_grad', _clip(cfg))):
        part = _at(cfg, place)
        if isinstance(part, dict):
            _check_names_of(place, part, _options_of(function), ())
    student = _at(cfg, 'model.student')
    if isinstance(student, dict) and 'type' not in student and _at(cfg, 'model.distiller') is not None:
        from crld_zoo.networks import build_network  # models are looked up by name everywhere else in this room

        _check_names_of('model.student', student, _options_of(build_network), ())
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if isinstance(loader, dict):
            _check_names_of(f'{split}_dataloader', loader, _options_of(DataLoader), _TAKEN_OUT['dataloader'])
    level = cfg.get('log_level', 'INFO')
    if not isinstance(logging.getLevelName(level), int if isinstance(level, str) else str):
        raise InputError(f"log_level must be the name of a level, 'INFO' or 'WARNING' say, not {level!r}.")
    wrapper = cfg.get('optim_wrapper') or {}
    half = wrapper.get('type') == 'AmpOptimWrapper' and wrapper.get('dtype') not in ('bfloat16', torch.bfloat16)
    if half and not torch.cuda.is_available():
        raise InputError(
            "optim_wrapper.type='AmpOptimWrapper' computes in float16, which needs a GPU: take 'Bf16OptimWrapper'."
        )


def _parts(cfg: Config) -> Iterator[tuple[str, dict, Registry, tuple[str, ...]]]:
    """Each dict that the Runner builds: its place, itself, where its type is looked up, what is not an option of it."""
    places = [
        *((f'{split}_cfg', registries.LOOPS, ()) for split in ('train', 'val', 'test')),
        ('optim_wrapper', registries.OPTIM_WRAPPERS, _TAKEN_OUT['optim_wrapper']),
        ('optim_wrapper.optimizer', registries.OPTIMIZERS, ()),
        ('model', registries.MODELS, ()),
        ('model.data_preprocessor', registries.MODELS, ()),
        ('model.teacher', registries.MODELS, ('cache',)),
        ('param_scheduler', registries.PARAM_SCHEDULERS, _TAKEN_OUT['param_scheduler']),
        *((f'{split}_evaluator', registries.METRICS, ()) for split in ('val', 'test')),
        ('visualizer', registries.VISUALIZERS, ('name',)),
        ('visualizer.vis_backends', registries.VISBACKENDS, ()),
        ('log_processor', registries.LOG_PROCESSORS, ()),
        ('custom_hooks', registries.HOOKS, _TAKEN_OUT['hooks']),
        *((f'default_hooks.{name}', registries.HOOKS, _TAKEN_OUT['hooks']) for name in cfg.get('default_hooks') or {}),
    ]
    for split in ('train', 'val', 'test'):
        loader = f'{split}_dataloader'
        places += [(f'{loader}.dataset', registries.DATASETS, ()), (f'{loader}.sampler', registries.DATA_SAMPLERS, ())]
        places += [(f'{loader}.collate_fn', FUNCTIONS, ())]
    for place, registry, extra in places:
        found = _at(cfg, place)
        for part in found if isinstance(found, list | tuple) else [found]:
            if isinstance(part, dict) and part:
                yield place, part, registry, extra


def _at(cfg: Config, place: str):
    part = cfg
    for name in place.split('.'):
        part = part.get(name) if isinstance(part, dict | Config) else None
    return part


def _names(registry: Registry | None) -> set[str]:
    """What is registered, in the parents too."""
    return set() if registry is None else {*registry.module_dict, *_names(registry.parent)}


def _clip(cfg: Config) -> Callable:
    """What optim_wrapper.clip_grad are options of."""
    by_value = (_at(cfg, 'optim_wrapper.clip_grad') or {}).get('type') == 'value'
    return nn.utils.clip_grad_value_ if by_value else nn.utils.clip_grad_norm_


def _options_of(module) -> tuple[dict[str, typing.Any], bool]:
    """What it can be built with, and of which kind; ``**kwargs`` are its base's. Whether that is all."""
    known: dict[str, typing.Any] = {}
    for part in inspect.getmro(module) if inspect.isclass(module) else [module]:
        if inspect.isclass(part) and '__init__' not in vars(part):
            continue
        function = part.__init__ if inspect.isclass(part) else part
        options = [*inspect.signature(function).parameters.values()]
        named = {option.name: _kind_of(option, function) for option in options if option.kind not in _MANY}
        known = named | known
        if not any(option.kind is option.VAR_KEYWORD for option in options):
            return {name: kind for name, kind in known.items() if name != 'self'}, True
    return known, False


_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _kind_of(option: inspect.Parameter, function):
    """Its annotation, None where it has none or one that only a type checker understands."""
    if option.annotation is option.empty:
        return None
    if not isinstance(option.annotation, str):
        return option.annotation
    with contextlib.suppress(Exception):
        return eval(option.annotation, inspect.unwrap(function).__globals__)
    return None


def _check_names_of(place: str, part: Mapping, options: tuple[Mapping, bool], extra: Sequence[str]) -> None:
    """See that a part has only options that there are, of the kinds that they are of."""
    known, complete = options
    for name in part.keys() - known - {'type', '_scope_', *extra} if complete else ():
        near = nearest_names(name, known)
        raise UnknownNameError(
            f"{place}.{name}: {part.get('type') or _BY_DEFAULT.get(place, 'it')} has no option '{name}' ({near})."
        )
    for name in part.keys() & known.keys() - {*extra}:
        kinds = typing.get_args(known[name]) if _is_union(known[name]) else (known[name],)
        if not any(_takes(kind, part[name]) for kind in kinds):
            wanted = ' or '.join(dict.fromkeys(filter(None, map(_in_words, kinds))))
            raise InputError(f'{place}.{name} must be {wanted}, not {part[name]!r}.')


def _in_words(kind) -> str:
    origin = typing.get_origin(kind) or kind
    if issubclass(origin, _NEVER_WRITTEN):
        return ''
    return _KINDS.get(kind) or ('a dict' if issubclass(origin, Mapping) else 'a list')


def _is_union(kind) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _takes(kind, value) -> bool:
    """Whether an option of a kind can be this number, text or truth value; of all else nothing is known."""
    if kind is None or value is None or not isinstance(value, int | float | str):
        return True
    if kind in _KINDS:
        return (
            isinstance(value, kind) or (kind is float and isinstance(value, int)) or (kind is bool and value in (0, 1))
        )
    origin = typing.get_origin(kind) or kind
    if not isinstance(origin, type) or isinstance(value, origin):
        return True
    return not issubclass(origin, (Collection, *_NEVER_WRITTEN))


def _check_count(cfg: Config, place: str) -> None:
    value = _at(cfg, place)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InputError(f'{place} must be a whole number of at least 1, not {value!r}.')
