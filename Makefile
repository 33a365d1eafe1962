# make demo: set up, then run the main job on real data.   make test: set up, then run the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up

.PHONY: setup demo test test-slow lint docs bench clean

setup: $(STAMP)

# Bytecode is compiled here, on all cores: pip does so on one, and importing TensorFlow without it takes three times as long.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = "%d.%d" % sys.version_info[:2]; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else f"Python 3.11 to 3.13 is needed (TensorFlow has no later one), {sys.executable} is {v}; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	-$(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null 2>&1
	@touch $(STAMP)

demo: setup
	$(BIN)/fedcompress run scenarios/quickstart.toml

# Side by side, a file at a time: what a module builds for its tests is built once. In the order of the folders, which ends
# with many short files. A worker takes some 2 GB of memory.
test: setup
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

# Deployments on loopback, about a quarter of an hour more.
test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, in site/: a link or an anchor that leads nowhere ends it.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

bench: setup
	$(BIN)/python -m benchmarks.engines

clean:
	rm -rf $(VENV) runs site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
