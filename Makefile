# Everything works from a fresh clone with Python 3.11 or newer and make: the first target that needs it makes .venv.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test lint format verify bench bench-quick bench-growth bench-report lock clean

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

run: .venv/.run ## set everything up and serve on PORT (8000), with all state in VAR_DIR (var/)
	@.venv/bin/python -m licensing_site.stack run

test: .venv/.dev ## run the whole test suite (ARGS="tests/common -x" for a part)
	.venv/bin/python -m pytest $(if $(ARGS),$(ARGS),-n auto --dist loadfile --no-loadscope-reorder)

lint: .venv/.dev ## check style, types, import contracts, dependencies, migrations and OpenAPI files
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/deptry .
	.venv/bin/python manage.py makemigrations --check --dry-run
	.venv/bin/python manage.py write_openapi --check

format: .venv/.dev ## put code into the common form
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

verify: .venv/.run ## prove the running stack's ledger: events = balances = roll-ups = overage
	@.venv/bin/python -m licensing_site.stack verify

bench: .venv/.bench ## measure, side by side with baselines and peers; one JSON line each, in 15 minutes
	@.venv/bin/python -m benchmarks $(ARGS)

bench-quick: .venv/.bench ## the same with short rounds, in 3 minutes: for a look, not for a comparison
	@.venv/bin/python -m benchmarks --quick $(ARGS)

bench-growth: .venv/.bench ## curves: events, tenants, agents, depth (ARGS="--large" for 10^7 events, 10^6 agents)
	@.venv/bin/python -m benchmarks --growth $(ARGS)

bench-report: .venv/.bench ## write what bench and bench-growth measured last into docs/performance.md, with charts
	@.venv/bin/python -m benchmarks.page $(ARGS)

lock: .venv/.dev ## resolve the dependencies anew (UPGRADE=--upgrade for newer versions) and write the lock files
	$(COMPILE) $(UPGRADE) pyproject.toml --output-file requirements/run.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --constraint requirements/run.txt --group test --group lint --group lock \
		--output-file requirements/dev.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --constraint requirements/dev.txt --group test --group lint --group lock \
		--group bench --output-file requirements/bench.txt
	$(COMPILE) --group lock --constraint requirements/dev.txt --output-file requirements/bootstrap.txt

clean: ## remove the state of a stack that does not run, .venv and caches
	@if [ -x .venv/bin/python ]; then .venv/bin/python -m licensing_site.stack clean; fi
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.run: requirements/run.txt requirements/bootstrap.txt requirements/sync
	@requirements/sync "$(PYTHON)" run

.venv/.dev: requirements/dev.txt requirements/bootstrap.txt requirements/sync
	@requirements/sync "$(PYTHON)" dev

.venv/.bench: requirements/bench.txt requirements/bootstrap.txt requirements/sync
	@requirements/sync "$(PYTHON)" bench
