# Everything is installed in .venv; your own environment stays untouched.
#
#   make demo          convert, prove and run the embedded model, from nothing
#   make test          lint, types and the quick tests, in parallel
#   make test-all      everything: slow, large, the whole conformance suite, the package index
#   make test-extras   what needs TensorFlow, MediaPipe, a browser: each in an environment of its own (tests/extras)
#   make test-lowest   the quick tests with the oldest dependencies that pyproject.toml admits
#   make lint          ruff and pyright only
#   make bench         the benchmarks (see benchmarks/)
#   make expectations  run the whole ONNX backend suite and rewrite its table (then read the changes)
#   make zoo         build public models (6 GB of packages), convert and prove each, rewrite docs/models.md
#   make lock          new constraints.txt and constraints-torch.txt from the newest releases
#   make clean         remove what these made
#
# TORCH=1 adds PyTorch to .venv (tests that need it are skipped without).
# PYTHON=... names the Python (3.11 or newer) that makes .venv.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m
TORCH ?=
JOBS ?= auto
PYTEST_ARGS ?=
QUICK := not slow and not large and not conformance and not zoo and not network

ifneq ($(TORCH),)
EXTRAS := test,torch
CONSTRAINTS := -c constraints.txt -c constraints-torch.txt
TEST_STAMP := $(VENV)/.installed-test-torch
else
EXTRAS := test
CONSTRAINTS := -c constraints.txt
TEST_STAMP := $(VENV)/.installed-test
endif
PIP_INSTALL := $(RUN) pip install --quiet --disable-pip-version-check

.PHONY: help demo test test-all test-extras test-lowest lint bench expectations zoo lock clean

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv found; name one: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP_INSTALL) -c constraints.txt -e .
	@touch $@

$(TEST_STAMP): $(VENV)/.made pyproject.toml constraints.txt constraints-torch.txt
	$(PIP_INSTALL) $(CONSTRAINTS) -e '.[$(EXTRAS)]'
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/fidelite demo

lint: $(TEST_STAMP)
	$(RUN) ruff check .
	$(RUN) basedpyright --pythonpath $(BIN)/python

test: lint
	$(RUN) pytest -n $(JOBS) --dist worksteal -m "$(QUICK)" $(PYTEST_ARGS)

test-all: lint $(ZOO_MODELS)
	HYPOTHESIS_PROFILE=thorough $(RUN) pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

EXTRA_TESTS := $(patsubst tests/extras/%/requirements.txt,test-extra-%,$(wildcard tests/extras/*/requirements.txt))
test-extras: $(EXTRA_TESTS)
test-extra-%:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found"; exit 1; }
	$(PYTHON) scripts/test_extra.py $* $(PYTEST_ARGS)

LOWEST := $(VENV)-lowest
test-lowest: pyproject.toml constraints-lowest.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found"; exit 1; }
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e '.[test]'
	$(LOWEST)/bin/python -m pytest -n $(JOBS) --dist worksteal -m "$(QUICK)" $(PYTEST_ARGS)

bench: $(TEST_STAMP)
	$(RUN) benchmarks $(BENCH_ARGS)

expectations: $(TEST_STAMP)
	$(RUN) tests.conformance.update

ZOO_MODELS := .zoo/manifest.json
$(ZOO_MODELS): tests/zoo/requirements.txt tests/zoo/zoo_public.py tests/zoo/zoo_common.py
	$(PYTHON) -m venv --clear $(VENV)-zoo
	$(VENV)-zoo/bin/python -m pip install --quiet --disable-pip-version-check -r tests/zoo/requirements.txt
	PATH="$(CURDIR)/$(VENV)-zoo/bin:$$PATH" python tests/zoo/zoo_public.py .zoo --jobs 2
	@touch $@

zoo: $(TEST_STAMP) $(ZOO_MODELS)
	$(RUN) tests.zoo.run .zoo

lock:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found"; exit 1; }
	$(PYTHON) scripts/lock.py

clean:
	rm -rf $(VENV) $(VENV)-* build dist demo-output benchmarks/.work tests/conformance/output .zoo
	rm -rf .pytest_cache .ruff_cache .hypothesis
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
