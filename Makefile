# All a newcomer, and CI, ever calls: make demo, make test, make check. Each calls `setup` first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test check format lock schemas bench-latency bench-analytics bench-offline bench-ingest bench-outbox

setup: .venv/.complete

# Rebuilt only when the lock or the project file changes.
.venv/.complete: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "poolwatch needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing what poolwatch needs into .venv (once; about a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@$(BIN)/poolwatch demo

test: setup
	@$(BIN)/python -m pytest

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

schemas: setup
	@$(BIN)/poolwatch schemas write

bench-latency: setup
	@$(BIN)/python benchmarks/latency.py

# The core beside pandas, polars, DuckDB and ioos_qc, on one core each, in an environment of its own.
bench-analytics: .venv-bench/.complete
	@POLARS_MAX_THREADS=1 .venv-bench/bin/python -m benchmarks.judging

# A month of a city's probes through `poolwatch judge`: needs about 7 GB of disk.
bench-offline: setup
	@$(BIN)/python -m benchmarks.offline

# Our ingest beside Telegraf. Needs mosquitto; influxd and telegraf by POOLWATCH_INFLUXD, POOLWATCH_TELEGRAF or PATH.
bench-ingest: setup
	@$(BIN)/python -m benchmarks.ingest $(ARGS)

# A gateway's outbox: 30 days on disk, and a drain beside live readings.
bench-outbox: setup
	@$(BIN)/python -m benchmarks.outbox

.venv-bench/.complete: requirements-bench.lock
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@echo "Installing what the benchmark compares with into .venv-bench (once; some minutes) ..."
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

# Versions with the hashes of every platform's files, and no index address.
lock:
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --all-extras --group build -o requirements.lock pyproject.toml
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --all-extras --group dev -o requirements-dev.lock pyproject.toml
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --all-extras --group bench -o requirements-bench.lock pyproject.toml
