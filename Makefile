# make setup, make demo, make test, make check: each does all the set-up that it needs. Wants python3 >= 3.11 and nothing else.

PYTHON ?= python3
# What a machine's pip or uv is configured with does not belong into the requirements files: no index, no links.
COMPILE = pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make requirements"
UPGRADE ?=

# uv where it is, else one in a virtual environment of its own.
UV_ON_PATH := $(shell command -v uv 2>/dev/null)
UV := $(or $(UV_ON_PATH),.venv-uv/bin/uv)
UV_NEEDED := $(if $(UV_ON_PATH),,.venv-uv/bin/uv)

# A uv.toml or variables that name other environments must not lead elsewhere.
unexport VIRTUAL_ENV
unexport UV_PROJECT_ENVIRONMENT
# Modules are compiled once, not by each of the many processes that the tests start.
unexport PYTHONDONTWRITEBYTECODE

define NEED_PYTHON
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "bulksend needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12" >&2; \
		exit 1; }
endef

SETUP := .venv/.made-by-make
MINISTACK := .venv-ministack/.made-from-requirements
DEPLOY_TOOLS := .venv-deploy/.made-by-make

.DEFAULT_GOAL := help
.PHONY: help setup demo test check check-deploy deploy-deps bench-deps requirements clean

help:
	@echo 'make setup         the virtual environment .venv, with exact versions'
	@echo 'make demo          a campaign against a simulator on this machine'
	@echo 'make test          the test suite'
	@echo 'make check         ruff, mypy --strict, the import rule'
	@echo 'make check-deploy  everything in deploy/, against a real Prometheus and a real browser'
	@echo 'make deploy-deps   what that needs of Debian and its kin, as root'
	@echo 'make bench-deps    nginx and wrk for the load tests (Debian and its kin, as root)'
	@echo 'make requirements  the requirements files, from pyproject.toml (UPGRADE=--upgrade for newer versions)'
	@echo 'make clean         remove all that make made'

setup: $(SETUP)

$(SETUP): requirements/dev.txt pyproject.toml $(UV_NEEDED)
	$(NEED_PYTHON)
	test -x .venv/bin/python || $(UV) venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	$(UV) pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

.venv-uv/bin/uv: requirements/uv.txt
	$(NEED_PYTHON)
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt
	@touch $@

# An independent SES server for the tests, apart from ours because it wants another botocore.
$(MINISTACK): requirements/ministack.txt tests/independent.py $(SETUP)
	PATH="$(dir $(abspath $(UV))):$$PATH" .venv/bin/python -m tests.independent

demo: $(SETUP)
	.venv/bin/bulksend demo

test: $(SETUP) $(MINISTACK)
	.venv/bin/python -m pytest -n 4 --dist worksteal

check: $(SETUP)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/python -m pytest -n 0 tests/unit/test_imports.py

# Linters of what is in deploy/, apart because nothing of ours imports them.
$(DEPLOY_TOOLS): requirements/deploy.txt $(SETUP)
	test -x .venv-deploy/bin/python || $(UV) venv --quiet --python .venv/bin/python .venv-deploy
	$(UV) pip sync --quiet --compile-bytecode --python .venv-deploy/bin/python --require-hashes requirements/deploy.txt
	@touch $@

check-deploy: $(SETUP) $(MINISTACK) $(DEPLOY_TOOLS)
	@for tool in prometheus promtool prometheus-alertmanager amtool chromium nginx systemd-analyze; do \
		command -v $$tool >/dev/null || { \
		echo "make check-deploy needs $$tool: make deploy-deps installs it on Debian and its kin" >&2; exit 1; }; done
	PATH="$(abspath .venv-deploy/bin):$$PATH" .venv/bin/python -m pytest -n 2 --dist worksteal tests/deploy

# A real Prometheus and Alertmanager, a real browser, a proxy, and systemd's own word on the units. None of them is started
# as a service.
deploy-deps:
	@command -v apt-get >/dev/null || { \
		echo "make deploy-deps uses apt-get: install prometheus, its alertmanager, chromium, nginx and systemd in this" \
			"system's own way" >&2; exit 1; }
	apt-get update
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends prometheus \
		prometheus-alertmanager chromium nginx-light systemd fonts-dejavu-core

# What loadtest/ measures against: nginx answers, as a server that is not the bottleneck, and wrk posts a ready body, as the
# limit of what a sender can reach. Both are only started by the scenarios, on loopback; the system's own nginx is not.
bench-deps:
	@command -v apt-get >/dev/null || { \
		echo "make bench-deps uses apt-get: install nginx and wrk in this system's own way" >&2; exit 1; }
	apt-get install -y nginx-light wrk

requirements: $(UV_NEEDED)
	$(UV) $(COMPILE) $(UPGRADE) pyproject.toml --output-file requirements/base.txt
	$(UV) $(COMPILE) $(UPGRADE) pyproject.toml --group dev --constraints requirements/base.txt --output-file requirements/dev.txt
	$(UV) $(COMPILE) $(UPGRADE) pyproject.toml --extra fleet --extra multiregion --constraints requirements/dev.txt --output-file requirements/image.txt
	$(UV) $(COMPILE) $(UPGRADE) requirements/build.in --constraints requirements/dev.txt --output-file requirements/build.txt
	$(UV) $(COMPILE) $(UPGRADE) requirements/ministack.in --output-file requirements/ministack.txt
	$(UV) $(COMPILE) $(UPGRADE) requirements/deploy.in --output-file requirements/deploy.txt
	$(UV) $(COMPILE) $(UPGRADE) requirements/uv.in --output-file requirements/uv.txt

clean:
	rm -rf .venv .venv-uv .venv-ministack .venv-deploy .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find bulksend tests loadtest -name __pycache__ -type d -prune -exec rm -rf {} +
