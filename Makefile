# Everything happens in .venv; the first two commands a newcomer needs are `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MODEL := smollm2-135m-instruct
# torch comes first and pinned: a range would take the newest build, with gigabytes of CUDA packages,
# where a CPU build of this version is at hand.
TORCH := torch==2.13.0

.PHONY: demo test test-slow fuzz lint format install clean

demo: $(STAMP)
	$(BIN)/sestina models pull $(MODEL)
	$(BIN)/python examples/extract_demo.py

test: $(STAMP)
	$(BIN)/python -m sestina.backend.grammar  # compiled here, not under the tracing of coverage
	$(BIN)/python -m sestina.backend.models
	$(BIN)/pytest -q -m "not slow" --cov --cov-report=term:skip-covered

test-slow: $(STAMP)
	$(BIN)/sestina models pull $(MODEL)
	$(BIN)/pytest -q -m slow

fuzz: $(STAMP)  # properties of cache and scheduler for long, with new examples each time
	HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest -q --durations=10 tests/backend/cache tests/backend/scheduler

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(STAMP)

$(STAMP): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "Sestina needs Python >= 3.10; set PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "this Python cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) build dist out src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
