# Two commands matter: `make chat` and `make test`. Each sets up what it needs, once, and is quick the next time.
# Wanted of the machine: Python 3.11 or newer, and Node.js 18 or newer for the chat, 20 or newer for the tests.

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
NPM := npm install --no-audit --no-fund --no-package-lock --no-progress --loglevel=error
PYRIGHT := tests/js/node_modules/.bin/pyright
PYTEST := $(PY) -m pytest --numprocesses=3 --dist=worksteal
PURE := tests/budgets tests/events tests/hostile tests/hosting tests/properties tests/protocol tests/regressions

# What has a compiled twin is compiled when madang is installed.
BENCH := .venv/.installed-bench
COMPILED := $(wildcard src/madang/*/*.pyx src/madang/*/*.pxd)

# Files that say "done"; each is made again when what it was made from changes.
VENV := .venv/.made
BASE := .venv/.installed
DEV := .venv/.installed-dev
JS := tests/js/node_modules/.installed
WEB := examples/chat/web/node_modules/.installed

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help chat test docs parity bench lint format types setup chromium servers clean

help: ## show this list
	@echo "madang: a complete Socket.IO v4 server for Python"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

chat: $(BASE) $(WEB) ## serve the example chat on http://localhost:3000 (PORT=4000 make chat for another port)
	@PYTHONUNBUFFERED=1 exec $(PY) -m examples.chat.server

test: setup lint types ## set up everything and run every check and test
	@CHROMIUM="$$(scripts/find_chromium.sh)" $(PYTEST) --parity=check tests
	@echo "the same without the compiled modules:" && MADANG_PURE=1 $(PYTEST) $(PURE)

docs: $(DEV) ## build the documentation as a site, in build/docs; every warning is an error
	@$(PY) scripts/docs.py

parity: $(DEV) ## write docs/parity.md and docs/node.md: which test proves what
	@$(PY) scripts/parity.py

bench: $(BENCH) ## measure madang beside its peers, and write docs/benchmarks.md (ONLY=echo-100-1 ROUNDS=3 for a part)
	@benchmarks/servers/setup.sh || echo "bench: going on without what could not be set up" >&2
	@$(PY) benchmarks/run.py $(if $(ONLY),--only '$(ONLY)') $(if $(SERVERS),--servers '$(SERVERS)') \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(AGAIN),--again)
ifeq ($(ONLY)$(SERVERS),)
	@$(PY) benchmarks/growth.py
endif
ifneq ($(AGAIN)$(if $(ONLY)$(SERVERS),,all),)
	@$(PY) benchmarks/report.py
endif

lint: $(DEV) ## ruff (lint and format) and import-linter
	@$(PY) -m ruff check --quiet || { echo "ruff: mend the lines above, or try: make format"; exit 1; }
	@$(PY) -m ruff format --check --quiet || { $(PY) -m ruff format --check; echo "ruff: try: make format"; exit 1; }
	@$(PY) scripts/parity.py --check > .venv/parity.log || { cat .venv/parity.log; exit 1; }
	@.venv/bin/lint-imports --no-logo > .venv/lint-imports.log 2>&1 || { cat .venv/lint-imports.log; exit 1; }
	@echo "lint: ok"

format: $(DEV) ## let ruff mend and format what it can
	@$(PY) -m ruff check --fix --quiet; $(PY) -m ruff format

types: $(DEV) $(JS) ## mypy --strict and pyright strict
	@$(PY) -m mypy --no-error-summary
	@$(PYRIGHT) --warnings > .venv/pyright.log 2>&1 || { cat .venv/pyright.log; exit 1; }
	@echo "types: ok"

setup: $(DEV) $(JS) $(WEB) chromium servers ## everything the tests need: Python and npm packages, Chromium, Redis, PostgreSQL, NATS, nginx, HAProxy

chromium:
	@scripts/find_chromium.sh --install > /dev/null

servers:
	@for server in redis postgres nats nginx haproxy; do scripts/find_server.sh $$server --install > /dev/null || exit 1; done

clean: ## remove the virtual environment, npm packages and caches
	@rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist tests/output
	@rm -rf benchmarks/build benchmarks/servers/*/node_modules benchmarks/servers/*/target benchmarks/servers/*/.venv
	@rm -rf tests/js/node_modules examples/chat/web/node_modules
	@rm -f src/madang/*/*.so src/madang/*/*.pyd
	@find src tests examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV):
	@python="$$(scripts/find_python.sh)" && echo "making .venv with $$python ..." && "$$python" -m venv --clear .venv
	@touch $@

$(BASE): pyproject.toml hatch_build.py $(COMPILED) | $(VENV)
	@echo "installing madang and what the chat needs ..."
	@$(PIP) install --editable '.[chat]'
	@touch $@

$(DEV): pyproject.toml | $(BASE)
	@echo "installing what the tests need ..."
	@$(PIP) install --editable '.[dev]'
	@touch $@

$(BENCH): benchmarks/requirements.txt | $(DEV)
	@echo "installing what the plots need ..."
	@$(PIP) install --requirement benchmarks/requirements.txt
	@touch $@

$(JS): tests/js/package.json
$(WEB): examples/chat/web/package.json
$(JS): NODE_WANTED := 20
$(WEB): NODE_WANTED := 18
$(JS) $(WEB):
	@scripts/find_node.sh $(NODE_WANTED)
	@echo "installing npm packages in $(dir $<) ..."
	@cd $(dir $<) && $(NPM) > /dev/null
	@touch $@
