"""Every registry of the package.

Each is a child of mmpretrain's registry of the same kind, so with ``default_scope = 'crld_zoo'`` a config names
modules of the zoo, of mmpretrain and of mmengine without a prefix. The Runner looks for a child of every root it
touches and warns where there is none, hence the registries below that hold nothing of the zoo's own.
"""

from __future__ import annotations

import inspect

import mmengine.registry as engine
import mmpretrain.registry as pretrain
from mmengine.registry import Registry, build_from_cfg

from .errors import InputError, UnknownNameError, nearest_names

PLUGINS = 'crld_zoo.plugins'


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    # A lookup in a parent does not import the parent's own locations, so they are named here as well.
    return Registry(name, parent=parent, scope='crld_zoo', locations=[*locations, PLUGINS])


def options_of(module) -> dict[str, inspect.Parameter]:
    """The options of a registered class; one that passes ``**options`` on has those of its bases too."""
    options = dict(inspect.signature(module).parameters)
    for base in inspect.getmro(module)[1:] if inspect.isclass(module) else ():
        passed_on = [name for name, option in options.items() if option.kind is option.VAR_KEYWORD]
        if not passed_on:
            break
        if '__init__' in vars(base) and base.__module__.split('.')[0] != 'torch':
            del options[passed_on[0]]
            inherited = list(inspect.signature(vars(base)['__init__']).parameters.items())[1:]
            options |= {name: option for name, option in inherited if name not in options}
    return options


def _build_by_name(cfg: dict, registry: Registry, default_args: dict | None = None):
    """Build from a config; an unknown name or option is answered with the nearest ones."""
    kind = cfg.get('type')
    if kind is None:
        raise InputError(f"a {registry.name}'s config needs a type ({nearest_names('', registry.module_dict)}): {cfg}.")
    module = registry.get(kind) if isinstance(kind, str) else kind
    if module is None:
        near = nearest_names(str(kind), registry.module_dict)
        raise UnknownNameError(
            f"unknown {registry.name} '{kind}' ({near}); a "
            f'plugin is named in custom_imports or installed with an entry point in {PLUGINS}.'
        )
    options = options_of(module)
    if not any(option.kind is option.VAR_KEYWORD for option in options.values()):
        for name in cfg.keys() - {'type', '_scope_'} - options.keys():
            raise UnknownNameError(f"{registry.name} '{kind}' has no option '{name}' ({nearest_names(name, options)}).")
    given = cfg.keys() | (default_args or {}).keys()
    for name, option in options.items():
        if (
            option.default is option.empty
            and option.kind not in (option.VAR_POSITIONAL, option.VAR_KEYWORD)
            and name not in given
        ):
            raise InputError(f"{registry.name} '{kind}' needs the option '{name}'.")
    return build_from_cfg(cfg, registry, default_args)


MODELS = _child('model', pretrain.MODELS, 'mmpretrain.models', 'crld_zoo.networks', 'crld_zoo.views', 'crld_zoo.models')
MODEL_WRAPPERS = _child('model_wrapper', pretrain.MODEL_WRAPPERS, 'mmpretrain.models')
WEIGHT_INITIALIZERS = _child('weight initializer', pretrain.WEIGHT_INITIALIZERS, 'mmpretrain.models')
BATCH_AUGMENTS = _child('batch augment', pretrain.BATCH_AUGMENTS, 'mmpretrain.models')
TASK_UTILS = _child('task util', pretrain.TASK_UTILS, 'mmpretrain.models')

DATASETS = _child('dataset', pretrain.DATASETS, 'mmpretrain.datasets', 'crld_zoo.datasets')
DATA_SAMPLERS = _child('data sampler', pretrain.DATA_SAMPLERS, 'mmpretrain.datasets', 'crld_zoo.datasets')
TRANSFORMS = _child('transform', pretrain.TRANSFORMS, 'mmpretrain.datasets', 'crld_zoo.datasets')

RUNNERS = _child('runner', pretrain.RUNNERS, 'mmpretrain.engine')
RUNNER_CONSTRUCTORS = _child('runner constructor', pretrain.RUNNER_CONSTRUCTORS, 'mmpretrain.engine')
LOOPS = _child('loop', pretrain.LOOPS, 'mmpretrain.engine', 'crld_zoo.engine')
HOOKS = _child('hook', pretrain.HOOKS, 'mmpretrain.engine', 'crld_zoo.engine')
STRATEGIES = _child('strategy', engine.STRATEGIES, 'crld_zoo.engine')
LOG_PROCESSORS = _child('log processor', pretrain.LOG_PROCESSORS, 'mmpretrain.engine', 'crld_zoo.engine')
OPTIMIZERS = _child('optimizer', pretrain.OPTIMIZERS, 'mmpretrain.engine')
OPTIM_WRAPPERS = _child('optimizer wrapper', pretrain.OPTIM_WRAPPERS, 'mmpretrain.engine', 'crld_zoo.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', pretrain.OPTIM_WRAPPER_CONSTRUCTORS, 'mmpretrain.engine'
)
PARAM_SCHEDULERS = _child('parameter scheduler', pretrain.PARAM_SCHEDULERS, 'mmpretrain.engine')

METRICS = _child('metric', pretrain.METRICS, 'mmpretrain.evaluation', 'crld_zoo.evaluation')
EVALUATORS = _child('evaluator', pretrain.EVALUATORS, 'mmpretrain.evaluation', 'crld_zoo.evaluation')
VISUALIZERS = _child('visualizer', pretrain.VISUALIZERS, 'mmpretrain.visualization')
VISBACKENDS = _child('vis_backend', pretrain.VISBACKENDS, 'mmpretrain.visualization')
INFERENCERS = _child('inferencer', engine.INFERENCERS, 'mmpretrain.apis')
FUNCTIONS = _child('function', engine.FUNCTIONS)

DISTILLERS = Registry(
    'distiller', build_func=_build_by_name, scope='crld_zoo', locations=['crld_zoo.distillers', PLUGINS]
)
"""What is learned from the teacher: subclasses of :class:`crld_zoo.distillers.Distiller`."""

VIEWS = Registry('view operation', build_func=_build_by_name, scope='crld_zoo', locations=['crld_zoo.views', PLUGINS])
"""Operations on a whole batch of uint8 images: modules that :mod:`crld_zoo.views` composes into named views."""
