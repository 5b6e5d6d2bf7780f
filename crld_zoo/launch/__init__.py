"""From a config to a run: what the commands under ``tools/`` do, and their exit codes."""

from .config import load_config, prepare, use_bf16
from .guard import main_guard
from .test import run_test
from .train import run_train

__all__ = ['load_config', 'main_guard', 'prepare', 'run_test', 'run_train', 'use_bf16']
