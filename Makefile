# `make help` lists what there is. Every target that needs something sets it up first.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test slow torture fuzz check report verify sample bench dashboards lock clean

PY := .venv/bin/python
# The command line with the settings of .env; where nothing is set at all, with the demo's.
define REPORTING
set -a; [ ! -f .env ] || . ./.env; set +a; \
	if [ -f var/demo/reporting.toml ] && [ ! -f reporting.toml ] && ! env | grep -q '^REPORTING_'; then \
		echo "(on the demo's data: nothing else is configured)"; \
		export REPORTING_CONFIG=var/demo/reporting.toml; \
	fi; \
	$(PY) -m reporting
endef
export PATH := $(CURDIR)/var/tools/usr/bin:$(PATH)
# Read by the shell and not pasted into it, so that a reason may hold quotes.
export KIND DATE REASON

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make report KIND=daily|weekly|monthly|quarterly DATE=YYYY-MM-DD [REASON=\"why it is issued again\"]"
	@echo "  make test ARGS=\"tests/measures -k pnl\""

setup: ## install what is missing: system libraries, .venv, the Prometheus binaries
	@deploy/setup.sh

demo: setup ## issue and verify a daily, a weekly and a monthly report from generated data
	@$(PY) -m reporting demo

# Three workers keep two cores busy, since tests wait for servers. A choice of tests (ARGS) runs in
# one process: for a few, starting workers takes longer than it saves.
test: setup ## run every test, against real PostgreSQL and real Prometheus
	@$(PY) -m pytest $(or $(ARGS),-n 3 --dist worksteal)

slow: setup ## the tests that try more places of the same: some minutes more
	@$(PY) -m pytest -m slow -n 3 --dist worksteal

# Atheris has no build for every Python that we support, so it is in no lock.
fuzz: setup ## bytes for every parser, guided by coverage; SECONDS=60
	@mkdir -p var/fuzz/corpus
	@[ -d var/fuzz/lib/atheris ] || $(PY) -m pip --disable-pip-version-check install --quiet \
		--only-binary :all: --no-deps --target var/fuzz/lib 'atheris>=3,<4'
	@PYTHONPATH=$(CURDIR):$(CURDIR)/var/fuzz/lib $(PY) tests/fuzz/parsers.py var/fuzz/corpus \
		-dict=var/fuzz/words -artifact_prefix=var/fuzz/ -timeout=20 -max_total_time=$(or $(SECONDS),60)

torture: setup ## the service under fire until KILLS=10000 and CRASHES=100: half an hour or more; docs/torture.md
	@$(PY) -W ignore -m tests.torture --kills $(or $(KILLS),10000) --crashes $(or $(CRASHES),100)

check: setup ## lint, types and the import contract
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports --no-logo

report: setup ## issue one report: KIND=… DATE=… [REASON=…]
	@[ -n "$$KIND" ] && [ -n "$$DATE" ] || { \
		echo "say which: make report KIND=daily|weekly|monthly|quarterly DATE=YYYY-MM-DD"; exit 2; }
	@$(REPORTING) issue --kind "$$KIND" --date "$$DATE" $${REASON:+--reason "$$REASON"}

verify: setup ## check every issued report and the audit log
	@$(REPORTING) verify

sample: setup ## compare reports/sample with what the demo makes now; FORCE=1 replaces it
	@rm -rf var/sample && mkdir -p reports/sample
	@$(PY) -m reporting demo --var-dir var/sample --reports-dir var/sample/reports
	@rm -f var/sample/reports/audit-witness.jsonl.tree # a cache
	@if git --no-pager diff --no-index --stat reports/sample var/sample/reports; then \
		echo "reports/sample is what the code makes"; \
	elif [ "$(FORCE)" = 1 ] || [ -z "$$(ls reports/sample)" ]; then \
		rm -rf reports/sample && cp -r var/sample/reports reports/sample && echo "replaced reports/sample"; \
	else \
		echo "it differs; to replace reports/sample: make sample FORCE=1"; exit 4; \
	fi

bench: setup ## measure each speed claim; every benchmark prints a ratio
	@for file in benchmarks/*.py; do echo "== $$file"; $(PY) "$$file" || exit; done

dashboards: setup ## write deploy/grafana/dashboards from deploy/grafana/generate.py
	@$(PY) deploy/grafana/generate.py

lock: ## pin all dependencies anew, with hashes
	@deploy/lock.sh

clean: ## remove everything that the other targets made, except reports/sample
	@rm -rf .venv var dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find reports -mindepth 1 -maxdepth 1 ! -name sample -exec rm -rf {} + 2>/dev/null || true
	@find reporting tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
