# make demo, make test: both first make the environment in .venv (PYTHON=python3.12 chooses the interpreter).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-data faults lint clean

demo: .venv/ready       ## the main job on the sample: a teacher, a baseline, two distilled students, a table
	$(BIN)/python tools/quickstart.py

test: .venv/ready       ## all tests but those below, in two processes
	$(BIN)/python -m pytest -m "not data" -n 2 --dist loadfile

test-data: .venv/ready  ## the tests that need the real data beside the repository
	$(BIN)/python -m pytest -m data

faults: .venv/ready     ## the long fault tests, with their figures
	$(BIN)/python tests/faults/run.py

lint: .venv/ready
	$(BIN)/python -m pip install --quiet ruff
	$(BIN)/ruff check .

clean:
	rm -rf .venv *.egg-info build

.venv/ready: setup.py pyproject.toml tools/make_env.sh
	sh tools/make_env.sh $(PYTHON) .venv
	touch $@
