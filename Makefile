# `make demo` and `make test` set themselves up: a virtual environment in .venv, made once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all faults docs linkcheck bench lint format clean

# --no-compile: Python compiles what is imported. To compile all modules of all packages takes a minute.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --editable

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) ".[demo,dev]"
	touch $@ $(VENV)/demo

$(VENV)/demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) ".[demo]"
	touch $@

demo: $(VENV)/demo
	$(BIN)/prh demo

# Most tests compile programs that run once, and would spend two thirds of their time on optimising them; those marked
# as_shipped (bits, kernels, memory, compilations) run with what is compiled for users.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal
# Where JAX is older than 0.12 it also compiles faster without the emitters of fused loops; newer ones end at that flag.
FASTER := XLA_FLAGS=--xla_cpu_use_fusion_emitters=false
CHEAPLY = env JAX_DISABLE_MOST_OPTIMIZATIONS=1 $$(env $(FASTER) $(BIN)/python -c "import jax; jax.devices()" \
	> /dev/null 2>&1 && echo $(FASTER))

test: lint
	$(CHEAPLY) $(PYTEST) -m "not slow and not as_shipped"
	$(PYTEST) -m "not slow and as_shipped"

test-all: lint
	$(PYTEST)

# Damage, kills, full disks, rival writers: all of the battery, and a table of what came of each kind.
faults: $(VENV)/ready
	$(CHEAPLY) $(BIN)/python -m pytest -n 0 --disable-warnings tests/faults

docs: $(VENV)/ready
	$(INSTALL) ".[docs]"
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

# Addresses of others, which needs the network.
linkcheck: $(VENV)/ready
	$(INSTALL) ".[docs]"
	$(BIN)/python -m sphinx -b linkcheck -D nb_execution_mode=off -q docs docs/_build/linkcheck

bench: $(VENV)/ready
	$(INSTALL) ".[bench]"
	$(BIN)/prh bench $(ARGS)

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist demo results docs/_build
