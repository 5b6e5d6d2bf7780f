"""What a comparison consists of: the runs that a compare file asks for, each with its whole config."""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, ConfigDict

from crld_zoo.config_files import find_config, read_config
from crld_zoo.errors import InputError, UnknownNameError, nearest_names
from crld_zoo.files import file_digest, write_atomically
from crld_zoo.networks.sources import OWN, NetworkSpec, check_weights
from crld_zoo.registry import DISTILLERS

from .config import check_data, load_config, merge_options, prepare, teacher_of
from .options import READ_AT_THE_TOP

CONFIG_FILE, RUN_RECORD, RESULTS_FILE, OUTPUT_FILE = 'config.py', 'run.json', 'results.json', 'output.log'
"""In the folder of a run: what it trains, what it was asked for, what it measured, what it said."""

_FREE = (
    'work_dir',
    'experiment_name',
    'log_level',
    'visualizer.',
    'default_hooks.logger.',
    'model.teacher.cache',
    'model.teacher.cache.folder',
    'model.teacher.cache.on_full',
)
"""Options, or with a dot all below one, that change no result: a finished run may differ in them."""


@dataclass(frozen=True, eq=False)  # one is itself, and can be a key
class Run:
    """One training of a comparison.

    Attributes:
        row: The name of its row.
        seed: Of everything random.
        folder: Its work directory.
        recipe: The recipe that its row names.
        config: That recipe with every option of the file, the row and the command.
        teacher: Config of the teacher that its student is held against; None where there is none.
    """

    row: str
    seed: int
    folder: Path
    recipe: str
    config: Config
    teacher: dict | str | None

    @property
    def name(self) -> str:
        """How messages call it."""
        return f'{self.row}, seed {self.seed}'


class Comparison(NamedTuple):
    """What a compare file asks for.

    Attributes:
        work_dir: The folder that is its own.
        reference: The row that each of the others is held against.
        rows: The names of all its rows, in its order.
        runs: Those that were asked for: all rows of one seed before the next seed.
    """

    work_dir: Path
    reference: dict[str, str]
    rows: list[str]
    runs: list[Run]


def read_comparison(
    path: str | Path,
    work_dir: str | Path | None = None,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    cfg_options: Mapping | None = None,
) -> Comparison:
    """Read a compare file: a config whose ``rows`` name recipes.

    .. code-block:: python

        seeds = [0, 1, 2]
        share = dict(cfg_options={'train_cfg.max_epochs': 8})
        rows = {
            'CE': 'crld_zoo::cross_entropy/ce_r20_cifar100.py',
            'DKD': dict(recipe='crld_zoo::dkd/dkd_r56_r20_cifar100.py',
                        cfg_options={'model.distiller.warmup': 1}, seeds=[0]),
        }
        reference = 'CE'                          # the first row if there is none; or {'DKD': 'CE', …}
        work_dir = 'work_dirs/my_comparison'      # work_dirs/<name of the file> if there is none

    Options are merged in the order recipe, ``share``, row, command. Those under ``model.teacher`` that are shared or
    from the command leave rows without a teacher alone, and ``model.teacher.cache`` those whose method needs more of a
    teacher than its logits. A shared cache has a folder inside for each teacher, data, views and seed of the data, so
    that it never holds two kinds of predictions.

    Args:
        path: The file, as in :func:`crld_zoo.config_files.find_config`.
        work_dir: Replaces the file's.
        rows: Names of the rows that are wanted; None for all.
        seeds: The seeds that are wanted, of those of the file; None for all.
        cfg_options: Options of every run, by dotted key.

    Raises:
        InputError: A recipe that does not exist, two rows of one name, a seed twice, an option that nothing reads.
    """
    cfg = read_config(path)
    _check_duplicate_keys(find_config(path))
    named, own_seeds = cfg.get('rows'), cfg.get('seeds', [0])
    if not isinstance(named, dict) or not named:
        raise InputError(f"{path} is no compare file: it needs rows = {{'name': 'recipe', …}}.")
    share = _options_of('share', cfg.get('share', {}), ('cfg_options',)).get('cfg_options', {})
    specs = {str(name): _row(str(name), row) for name, row in named.items()}
    reference = cfg.get('reference', next(iter(specs)))
    if isinstance(reference, str):
        reference = {name: reference for name in specs if name != reference}
    _check_known('reference', [*reference, *reference.values()], specs)
    _check_known('--rows', rows or [], specs)
    all_seeds = {name: _seeds(name, spec.get('seeds', own_seeds)) for name, spec in specs.items()}
    _check_seeds(seeds or [], {seed for known in all_seeds.values() for seed in known})
    folder = Path(work_dir or cfg.get('work_dir') or Path('work_dirs', Path(path).stem))
    merged = {name: _merge(name, spec, share, cfg_options or {}) for name, spec in specs.items()}
    common = _common_teacher(merged.values())  # of all rows: which ones are wanted now changes no result
    shared = any(key.startswith('model.teacher.cache') for key in (*share, *(cfg_options or {})))
    configs = {name: _resolve(name, cfg, shared) for name, cfg in merged.items() if rows is None or name in rows}
    runs = []
    for seed in dict.fromkeys(seed for known in all_seeds.values() for seed in known):
        for name, config in configs.items():
            if seed in all_seeds[name] and (seeds is None or seed in seeds):
                run = _seeded(config, seed, folder / name / f'seed_{seed}')
                runs.append(Run(name, seed, Path(run.work_dir), specs[name]['recipe'], run, teacher_of(run) or common))
    if not runs:
        raise InputError(f'{path} has no run of these rows and seeds.')
    return Comparison(folder, dict(reference), list(specs), runs)


def flat_config(config: Mapping) -> dict[str, str]:
    """All values of a config by dotted key, as Python writes them.

    >>> flat_config(dict(a=dict(b=1), c=[dict(d='x'), 2]))
    {'a.b': '1', 'c.0.d': "'x'", 'c.1': '2'}
    """
    return dict(_flatten('', config))


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between two flat configs, one clause a value; what changes no result is left out.

    >>> differences({'model.x': '1', 'work_dir': "'x'"}, {'model.x': '2', 'resume': 'True', 'work_dir': "'y'"})
    ['model.x was 1 and is 2', 'resume was nothing and is True']
    """
    return [
        f'{key} was {then.get(key, "nothing")} and is {now.get(key, "nothing")}'
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key) and not _is_free(key)
    ]


def _is_free(key: str) -> bool:
    changes_nothing = key in _FREE or any(free.endswith('.') and key.startswith(free) for free in _FREE)
    return changes_nothing or key.split('.')[0] not in READ_AT_THE_TOP


def check_unchanged(run: Run) -> None:
    """See that what a run's folder holds was made with its config and the files that this names.

    Where nothing was saved yet, all is well.

    Raises:
        InputError: It was made with another, and what differs; or by something else than a comparison.
    """
    if not has_trained(run) and not (run.folder / RESULTS_FILE).is_file():
        return
    record = read_record(run.folder)
    if record is None:
        raise InputError(
            f'{run.folder} holds a training that is not of a comparison: give the row a new name, or the comparison '
            'another work directory (--work-dir).'
        )
    changes = differences(record['config'], flat_config(run.config.to_dict()))
    changes += _changed(record.get('files', {}), run.config.model)
    if changes:
        shown = '; '.join(changes[:5]) + (f'; and {len(changes) - 5} more' if len(changes) > 5 else '')
        raise InputError(
            f'{run.folder} was trained with another config than {run.name} has now ({shown}): give the row a new name, '
            'take the old values back, or delete that folder.'
        )
    measured_with = _changed(record.get('files', {}), run.teacher)
    if measured_with and (run.folder / RESULTS_FILE).is_file():
        raise InputError(
            f'{run.folder} was measured against another teacher than {run.name} has now ({"; ".join(measured_with)}): '
            f'delete its {RESULTS_FILE} and it is measured again.'
        )


def check_teacher(run: Run) -> None:
    """See that the weights of the teacher that a run learns from, or is measured against, are there.

    Raises:
        MissingFileError: They are not.
    """
    teachers: Any = [run.teacher]
    if isinstance(run.teacher, dict):
        teachers += run.teacher.get('teachers') or ()
    for teacher in teachers:
        checkpoint = teacher.get('checkpoint') if isinstance(teacher, dict) else None
        if checkpoint not in (None, OWN):
            with _naming(run.row):
                check_weights(NetworkSpec('the teacher', {}), checkpoint)


def has_trained(run: Run) -> bool:
    """Whether there is something to go on from."""
    return any(run.folder.glob('*.pth'))


def write_record(run: Run) -> None:
    """Write what a run trains into its folder, for the process that trains it and for :func:`check_unchanged`."""
    write_atomically(run.config.pretty_text.encode(), run.folder / CONFIG_FILE)
    record = dict(
        row=run.row,
        seed=run.seed,
        recipe=run.recipe,
        teacher=run.teacher,
        seconds=(read_record(run.folder) or {}).get('seconds', 0.0),
        config=flat_config(run.config.to_dict()),
        files={path: _digest(path) for path in {*_files_of(run.config.model), *_files_of(run.teacher)}},
    )
    write_json(record, run.folder / RUN_RECORD)


def _files_of(config) -> Iterator[str]:
    """The files and Hugging Face folders that a config names."""
    if isinstance(config, str):
        if os.path.isfile(config) or os.path.isfile(os.path.join(config, 'config.json')):
            yield config
    elif isinstance(config, Mapping | list | tuple):
        for part in config.values() if isinstance(config, Mapping) else config:
            yield from _files_of(part)


def _digest(path: str) -> str:
    """A digest of a file or folder, made once for all runs that name it, as long as nobody writes it again."""
    parts = sorted(Path(path).iterdir()) if os.path.isdir(path) else [path]
    return _digest_at(path, tuple((str(part), os.stat(part).st_size, os.stat(part).st_mtime_ns) for part in parts))


@functools.cache
def _digest_at(path: str, stamp: tuple) -> str:
    return file_digest(path)


def _changed(then: Mapping[str, str], config) -> list[str]:
    """A clause for each file that a config names whose content is another than it was."""
    now = {path: _digest(path) for path in _files_of(config) if path in then}
    return [f'the file {path} was {then[path][:8]}… and is {now[path][:8]}…' for path in now if now[path] != then[path]]


def read_record(folder: Path) -> dict | None:
    """What :func:`write_record` wrote; None where nothing was trained."""
    return read_json(folder / RUN_RECORD)


def read_json(path: Path) -> Any:
    """The content of a JSON file, None where it is not there.

    Raises:
        InputError: It is damaged.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise InputError(f'{path} is damaged ({error}): delete it.') from error


def write_json(content: dict | list, path: Path) -> None:
    """Write a JSON file, all of it or nothing."""
    write_atomically((json.dumps(content, indent=1) + '\n').encode(), path)


def _flatten(prefix: str, value) -> Iterator[tuple[str, str]]:
    items: Any = value.items() if isinstance(value, Mapping) else None
    if isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        items = enumerate(value)
    if not items:
        yield prefix.removesuffix('.'), repr(value)
    for key, item in items or ():
        yield from _flatten(f'{prefix}{key}.', item)


def _check_duplicate_keys(path: Path) -> None:
    """Python takes the last of two equal keys and says nothing."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Dict):
            keys = Counter(key.value for key in node.keys if isinstance(key, ast.Constant))
            twice = [key for key, count in keys.items() if count > 1]
            if twice:
                raise InputError(
                    f'{path}, line {node.lineno}: {twice[0]!r} stands there twice: give each its own name.'
                )


def _options_of(place: str, options, known: Sequence[str]) -> dict:
    if not isinstance(options, dict):
        raise InputError(f'{place} of a compare file is dict({", ".join(f"{name}=…" for name in known)}).')
    for name in options.keys() - set(known):
        raise UnknownNameError(f"{place} of a compare file has no option '{name}' ({nearest_names(name, known)}).")
    return options


def _row(name: str, row) -> dict:
    if not name.strip() or name.startswith('.') or any(character in name for character in '/\\\0'):
        raise InputError(f"the row '{name}' names a folder: leave out / and \\ and a dot at the beginning.")
    row = dict(recipe=row) if isinstance(row, str) else row
    row = _options_of(f"the row '{name}'", row, ('recipe', 'cfg_options', 'seeds'))
    if not isinstance(row.get('recipe'), str):
        raise InputError(f"the row '{name}' needs a recipe, the name of a config.")
    return row


def _seeds(name: str, seeds) -> list[int]:
    whole = isinstance(seeds, list | tuple) and all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds)
    if not whole or not seeds:
        raise InputError(f"seeds of the row '{name}': a list of whole numbers from 0 to {2**32 - 1}, not {seeds!r}.")
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if list(seeds).count(seed) > 1)
        raise InputError(f"the seed {twice} of the row '{name}' stands there twice: each seed is one run.")
    return list(seeds)


def _check_known(place: str, names: Sequence[str], known: Mapping) -> None:
    for name in names:
        if name not in known:
            raise UnknownNameError(f"{place}: there is no row '{name}' ({nearest_names(name, known)}).")


def _check_seeds(wanted: Sequence[int], known: set[int]) -> None:
    if len(set(wanted)) < len(wanted):
        raise InputError(f'--seeds {" ".join(map(str, wanted))}: a seed stands there twice.')
    for seed in wanted:
        if seed not in known:
            raise InputError(f'--seeds: no row has the seed {seed}, only {sorted(known)}: add it to seeds of the file.')


def _merge(name: str, spec: dict, share: Mapping, options: Mapping) -> Config:
    """The config of a row with all its options."""
    with _naming(name):
        cfg = load_config(spec['recipe'])
        merge_options(cfg, _of_teachers(cfg, share))
        merge_options(cfg, spec.get('cfg_options', {}))
        merge_options(cfg, _of_teachers(cfg, options))
        for variable in cfg.keys() - READ_AT_THE_TOP:  # which the recipes' bases leave behind
            cfg.pop(variable)
        return cfg


def _resolve(name: str, cfg: Config, shared_cache: bool) -> Config:
    """The config of a row's runs but for the seed, seen to be one that trains."""
    with _naming(name):
        checked = copy.deepcopy(cfg)
        check_data(checked, 'train_dataloader', 'val_dataloader', 'test_dataloader')
        prepare(checked)
        distiller = checked.get('model', {}).get('distiller')
        distiller = None if distiller is None else DISTILLERS.build(distiller.to_dict())
        if cfg.get('test_dataloader') is None:
            raise InputError('its recipe has no test_dataloader to measure its students on.')
    if shared_cache and teacher_of(cfg):
        if distiller is not None and (distiller.teacher_taps or distiller.needs_images):
            cfg.model.teacher.pop('cache', None)
        else:
            _divide_cache(cfg)
    return cfg


@contextlib.contextmanager
def _naming(row: str) -> Iterator[None]:
    """Errors say which row they are of."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"the row '{row}': {error}") from error


def _of_teachers(cfg: Config, options: Mapping) -> dict:
    """Options without those of a teacher, where there is none, or none but the student's average."""
    teacher = teacher_of(cfg)
    return {
        key: value
        for key, value in options.items()
        if teacher or not (key == 'model.teacher' or key.startswith('model.teacher.'))
    }


def _divide_cache(cfg: Config) -> None:
    """Give a shared cache a folder for what decides its predictions; the seed is filled in where it is known."""
    data = dict(cfg.train_dataloader.dataset)
    if data.get('others') == 'unlabeled':  # which labels are kept decides no image
        data = {key: data[key] for key in data if key not in ('labels_per_class', 'fraction', 'others', 'subset_seed')}
    loop = cfg.get('train_cfg') or {}
    decides = dict(
        teacher=teacher_of(cfg),
        preprocessor=cfg.model.get('data_preprocessor'),
        data=data,
        precision=(cfg.get('optim_wrapper') or {}).get('type'),
        period=loop.get('views_period'),
    )
    digest = hashlib.sha256(repr(flat_config(decides)).encode()).hexdigest()[:12]
    seed = '{seed}' if loop.get('data_seed') is None else loop['data_seed']
    cache = cfg.model.teacher.cache
    if isinstance(cache, ConfigDict):
        cache.folder = str(Path(cache.folder, f'{digest}_{seed}'))
    elif cache is not None:
        cfg.model.teacher.cache = str(Path(cache, f'{digest}_{seed}'))


def _common_teacher(configs) -> dict | str | None:
    """The teacher of all rows that have one, if it is the same."""
    teachers = [teacher for teacher in map(teacher_of, configs) if teacher]
    return teachers[0] if teachers and all(teacher == teachers[0] for teacher in teachers) else None


def _seeded(config: Config, seed: int, folder: Path) -> Config:
    cfg = copy.deepcopy(config)
    cfg.work_dir = str(folder)
    merge_options(cfg, {'randomness.seed': seed})
    cache = cfg.model.get('teacher', {}).get('cache') if teacher_of(cfg) else None
    if isinstance(cache, ConfigDict):
        cache.folder = cache.folder.replace('{seed}', str(seed))
    elif cache is not None:
        cfg.model.teacher.cache = cache.replace('{seed}', str(seed))
    return cfg
