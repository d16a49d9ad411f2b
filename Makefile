# Everything here needs Python 3.11 or later with pip, and nothing else: each target first makes what it needs.
# Works with GNU make 3.81, the one that macOS brings.

.DEFAULT_GOAL := help
SHELL := /bin/sh

# The first Python that is new enough. Another one: make PYTHON=/path/to/python3.13
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

BIN := .venv/bin
STAMP := .venv/.installed
# The folders that hold Python; some do not exist before something needs them.
CODE := $(wildcard src tests tools bench)
WORKERS ?= 4

help:  ## show this text
	@echo 'make TARGET, where TARGET is'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo 'The first target that needs it makes .venv, which takes about a minute.'

demo: $(STAMP)  ## see it work in a minute: no account and no key needed
	$(BIN)/python -m betcode.testing.demo

test: $(STAMP)  ## run all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q

check: $(STAMP)  ## what CI asks for beside the tests: lint, format, types, layers, size, generated documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE)
	cd src && ../$(BIN)/lint-imports --config ../pyproject.toml --no-logo
	$(BIN)/python -m pytest -q tests/architecture
	$(BIN)/python tools/generate_docs.py --check

bench: $(STAMP)  ## measure all and write docs/benchmarks.md (20 minutes); for a look ROWS="latency burst" PAIRS=3
	$(BIN)/python -m bench $(if $(PAIRS),--pairs $(PAIRS)) $(ROWS)

plant: $(STAMP)  ## prove that tests can fail: plant known bugs in a copy; BUG=name for one
	$(BIN)/python tools/plant.py $(BUG)

sim: $(STAMP)  ## simulate faults in virtual time: SEEDS=100 for that many runs, SEED=7 to repeat one, PLANT=list
	$(BIN)/python -m betcode.testing.simulate --workers $(WORKERS) $(if $(SEED),--seed $(SEED)) \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(START),--start $(START)) $(if $(PLANT),--plant $(PLANT))

storm: $(STAMP)  ## kill -9 daemon and clients while ten sessions work: KILLS=100 so many times, SEED=1 another order
	BETCODE_KILLS=$(or $(KILLS),100) $(if $(SEED),BETCODE_STORM_SEED=$(SEED)) $(BIN)/python -m pytest -q -s \
		tests/e2e/test_storm.py -k storm_of_kills

faults: $(STAMP)  ## every operation of disks and sockets fails in turn, where the tests let each third one fail
	BETCODE_ALL_FAULTS=1 $(BIN)/python -m pytest -n $(WORKERS) -q tests/faults

fuzz: .venv/.fuzz  ## damaged input for all that reads foreign bytes: SECONDS=60, SEED=1 for another order
	$(BIN)/python -m betcode.testing.fuzz --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED))

chaos-recovery: $(STAMP)  ## real faults under the real claude; SEED=n, SCALE=k, ONLY=id, PLANT=bug or list
	$(BIN)/python $(if $(PLANT),tools/plant_chaos.py $(PLANT),-m betcode.testing.chaos) recovery \
		$(if $(SEED),--seed $(SEED)) $(if $(SCALE),--scale $(SCALE)) $(if $(ONLY),--only $(ONLY))

chaos-limits: $(STAMP)  ## full pool and queue, sessions that use too much; SEED=n, SCALE=k, ONLY=id, PLANT=bug or list
	$(BIN)/python $(if $(PLANT),tools/plant_chaos.py $(PLANT),-m betcode.testing.chaos) limits \
		$(if $(SEED),--seed $(SEED)) $(if $(SCALE),--scale $(SCALE)) $(if $(ONLY),--only $(ONLY))

chaos-storage: $(STAMP)  ## a database of 60,000 rows damaged in every known way; SEED=n, SCALE=k, ONLY=id, PLANT=bug or list
	$(BIN)/python $(if $(PLANT),tools/plant_chaos.py $(PLANT),-m betcode.testing.chaos) storage \
		$(if $(SEED),--seed $(SEED)) $(if $(SCALE),--scale $(SCALE)) $(if $(ONLY),--only $(ONLY))

chaos-api: $(STAMP)  ## the API limits, refuses, is away, stalls or breaks off; SEED=n, SCALE=k, ONLY=id, PLANT=bug or list
	$(BIN)/python $(if $(PLANT),tools/plant_chaos.py $(PLANT),-m betcode.testing.chaos) api \
		$(if $(SEED),--seed $(SEED)) $(if $(SCALE),--scale $(SCALE)) $(if $(ONLY),--only $(ONLY))

trial-service: $(STAMP)  ## the tests of the service with a real systemd: Linux, as root (a container will do)
	tools/with_cgroups.sh env BETCODE_REAL_SYSTEMD=$(or $(SYSTEMD),/lib/systemd/systemd) \
		$(BIN)/python -m pytest -q tests/e2e/test_service.py
compat: $(STAMP)  ## try what is needed of claude with eight of its versions (15 minutes, 1 GB); VERSIONS=2.1.222 for one
	$(BIN)/python -m betcode.testing.compat $(VERSIONS)

fmt: $(STAMP)  ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

docs: $(STAMP)  ## write the generated documents again
	$(BIN)/python tools/generate_docs.py

lock: build/lock/bin/python  ## take new versions of the development tools into requirements-dev.lock
	build/lock/bin/pip install --quiet --upgrade --upgrade-strategy eager --editable '.[dev]'
	{ sed -n '/^#/p' requirements-dev.lock; build/lock/bin/pip freeze --exclude-editable | LC_ALL=C sort -f; } > build/lock.new
	mv build/lock.new requirements-dev.lock

build/lock/bin/python:
	$(PYTHON) -m venv build/lock

# The stamp is newer than the files that say what to install, so the second time costs nothing.
$(STAMP): pyproject.toml requirements-dev.lock
	@[ -n "$(PYTHON)" ] || { echo 'No Python 3.11 or later found. Install one, or say make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo 'Could not make .venv. On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Not every system has a wheel of atheris; the fuzzer says whether it goes without.
.venv/.fuzz: $(STAMP)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[fuzz]'
	@touch $@

.PHONY: help demo test check bench plant sim storm faults fuzz chaos-recovery chaos-limits chaos-storage chaos-api compat trial-service fmt docs lock
