# make quickstart   sets up .venv, then runs everything in small: runs/quickstart/report.html; with FROM=mini it begins
#                   with the model of the package, and trains a fifth of the updates
# make setup        makes .venv with all that is needed, as the others do first; minutes on a first run
# make test         sets up .venv, then runs the tests
# make lint         style, format and types
# make bench        measures everything beside its peers, whose environments it makes first (runs/peers, 7 GB), and
#                   writes benchmarks/results; hours, and it goes on where it was stopped
# make bench-gpu    measures the training step on the GPU of this machine, in under nine minutes
# make wheel        builds dist/*.whl
# make release-check  what has to hold before a release, a line each
# make docs         builds the manual as a site, with all it needs: open build/site/index.html
# make clean        removes what the others made, runs/ excepted

PYTHON ?= python3
# The exact pin comes first and alone. With a range, pip takes the newest build, which brings gigabytes of CUDA packages
# along; of this version it finds a build for the processor alone where there is one. On a machine with a GPU:
# make TORCH=torch ...
TORCH ?= torch==2.13.0
VENV ?= .venv
# A run that make quickstart begins with: mini, or a run folder.
FROM ?=
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: quickstart test lint bench bench-gpu wheel docs release-check clean setup

quickstart: $(READY)
	$(BIN)/m6 quickstart $(if $(FROM),--from $(FROM))

# Tests share the cores: one worker a core, one thread a worker (see tests/conftest.py).
test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadgroup -q

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Text and pictures to measure on come out of packages of pip, npm and apt: runs/packages.
bench: $(READY)
	$(BIN)/python -m benchmarks

bench-gpu: $(READY)
	$(BIN)/python -m benchmarks.gpu --json runs/gpu.json

wheel: $(READY)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

release-check: $(READY)
	$(BIN)/python -m tools.release

# English first: it empties the folder that Chinese goes into. A link that leads nowhere is an error.
docs: export NO_MKDOCS_2_WARNING := 1
docs: $(VENV)/.docs
	$(BIN)/mkdocs build --quiet --strict --config-file mkdocs.yml
	$(BIN)/mkdocs build --quiet --strict --config-file mkdocs.zh.yml

$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	@touch $@

setup: $(READY)

# Made again when the dependencies change; a set-up that was broken off leaves no stamp and is done again.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; name another with: make PYTHON=python3.12 ...")'
	@$(PYTHON) -c 'import venv, ensurepip' || { echo 'This Python cannot make virtual environments; on Debian or Ubuntu: apt install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo 'fetching PyTorch and what else is needed; minutes on a first run'
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache
	find m6 tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +
