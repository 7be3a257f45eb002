# Two commands for a fresh machine with Python 3.11 (with venv), git and make: `make demo`, `make test`.
# Daily work has more commands: `just` lists them once `.venv` exists (`.venv/bin/just`).
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.PHONY: demo test env-demo env-test clean

demo: env-demo ## play the main job on loopback; ARGS="--seconds 20 --headless --json"
	$(BIN)/asepsis demo $(ARGS)

test: ## the whole gate, with everything that it needs
	./tests/setup.sh
	$(MAKE) --no-print-directory env-test
	$(BIN)/python tests/gate.py $(ARGS)

env-demo: .venv/.runtime
env-test: .venv/.test

.venv/.runtime: requirements/runtime.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

.venv/.test: requirements/test.txt .venv/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

clean: ## remove the environment and every cache
	rm -rf .venv .cache build dist
