# make demo, check, test: each first makes the environment in .venv (PYTHON=python3.12 chooses the interpreter).
PYTHON ?= python3
BIN := .venv/bin
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder

# `docs` is a folder too: without this line make would find it up to date.
.PHONY: demo check docs test test-whole test-data faults gpu clean

demo: .venv/ready       ## the main job on the sample: a teacher, a baseline, distilled students, a table, a page of figures
	$(BIN)/python tools/quickstart.py

check: .venv/ready      ## style, types, the examples of docstrings, the docs, the wheel in an environment of its own
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --doctest-modules crld_zoo
	$(MAKE) docs
	$(BIN)/python -m pytest -m wheel tests/test_tools

docs: .venv/ready       ## the documentation site in build/docs, without a warning
	$(BIN)/python -m sphinx -W --keep-going --quiet -b html docs build/docs

test: .venv/ready       ## all tests but those of the wheel and those below, in two processes
	$(BIN)/python -m pytest -m "not data and not wheel and not whole" $(IN_TWO)

test-whole: .venv/ready ## whole commands: the demo, the pages, a comparison told to stop, faults in brief
	$(BIN)/python -m pytest -m whole $(IN_TWO)

test-data: .venv/ready  ## the tests that need the real data beside the repository
	$(BIN)/python -m pytest -m data

faults: .venv/ready     ## the long fault tests, with their figures
	$(BIN)/python tests/faults/run.py

gpu:                    ## what a machine with a GPU shows, in nine minutes; needs no network, GPU=--help says more
	$(or $(wildcard $(BIN)/python),$(PYTHON)) tools/gpu.py $(GPU)

clean:
	rm -rf .venv *.egg-info build

.venv/ready: setup.py pyproject.toml tools/make_env.sh
	sh tools/make_env.sh $(PYTHON) .venv
	touch $@
