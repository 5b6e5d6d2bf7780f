"""From a config to a run: what the commands under ``tools/`` do, and their exit codes."""

from .launch import load_config, main_guard, prepare, run_test, run_train, use_bf16

__all__ = ['load_config', 'main_guard', 'prepare', 'run_test', 'run_train', 'use_bf16']
