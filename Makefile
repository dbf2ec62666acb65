# Two commands matter: `make serve` and `make test`. Everything lives in .venv and, for serve, in ./data.
PYTHON ?= python3
DATA ?= data
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv

.PHONY: serve demo test test-pooler check format bench browser clean

serve: $(VENV)/.server  ## environment, embedded database, first organization and keys, server
	@$(BIN)/tallystick serve --data $(DATA)

demo: $(VENV)/.server  ## the same, with a believable week of events in it
	@$(BIN)/tallystick serve --data $(DATA) --demo

test: $(VENV)/.test browser  ## everything, on real PostgreSQL
	@$(BIN)/pytest -n 2 --dist worksteal

test-pooler: $(VENV)/.test browser  ## what speaks to the database, once more through PgBouncer in transaction mode
	@TALLYSTICK_TEST_POOLER=1 $(BIN)/pytest -n 2 --dist worksteal tests/services tests/web tests/contracts tests/sign_in

check: $(VENV)/.test  ## format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright --level error
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.test
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.test  ## ratios against baselines of the same run; takes a while
	@$(BIN)/python -m bench

browser:  ## the system's Chromium, for the tests of pages
	@bash tests/install_chromium.sh

$(VENV)/.build: requirements-build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tallystick needs Python 3.11 or newer; run make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.txt
	@touch $@

$(VENV)/.server: $(VENV)/.build requirements.txt pyproject.toml
	@test -e $(VENV)/.test || $(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.test: $(VENV)/.build requirements-test.txt pyproject.toml
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-test.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.server

clean:
	@rm -rf $(VENV) .venv-mlflow .pytest_cache .ruff_cache .hypothesis build dist
