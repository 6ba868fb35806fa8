# make alone lists the commands.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# A Python of 3.11 to 3.13; the environments that these make are used from then on.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DEMO := .venv-demo
TEST := .venv-test
PEER := .venv-peer
DOCS := .venv-docs
SOURCES := $(wildcard *.py) benchmarks blockchain checking decoding demo observing protocol tests training transport

.PHONY: help demo test unit fuzz bench soak chaos check docs format clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

KIND ?= classic

demo: $(DEMO)/.installed  ## a federation over a real Kafka, in a minute; KIND=… for another kind of training than classic
	@$(DEMO)/bin/python -m demo.run --kind $(KIND) $(if $(filter no,$(OPEN)),--no-open)

test: $(TEST)/.installed  ## all tests, over a real Kafka
	@$(TEST)/bin/python -m pytest -n 2 --dist loadfile

unit: $(TEST)/.installed  ## the tests that open no socket
	@$(TEST)/bin/python -m pytest tests/unit

COUNT ?= 1000000
SEED ?= 1

fuzz: $(TEST)/.fuzzer  ## read spoiled weights, 20 minutes; COUNT=1000000 of them, which follow from SEED=1
	@$(TEST)/bin/python -m tests.fuzz --count $(COUNT) --seed $(SEED)

bench: $(DEMO)/.installed $(PEER)/.installed  ## measure speed and memory, 40 minutes; PARTS="reading memory" for some of it
	@$(DEMO)/bin/python -m benchmarks.run $(PARTS)

soak: $(DEMO)/.installed  ## a thousand rounds in one worker, whose memory must not grow, 25 minutes
	@$(DEMO)/bin/python -m benchmarks.soak

chaos: $(TEST)/.installed  ## kill workers and their broker in federations of 20 rounds, 6 minutes; SEED=… for one that was
	@$(TEST)/bin/python -m tests.chaos.run $(if $(SEED),--seed $(SEED))

check: $(TEST)/.installed  ## linter, format, types, and whether a pinned package has a known vulnerability
	@$(TEST)/bin/ruff check $(SOURCES)
	@$(TEST)/bin/ruff format --check $(SOURCES)
	@$(TEST)/bin/mypy $(SOURCES)
	@$(TEST)/bin/python -m tests.audit $(AUDIT)

docs: $(DOCS)/.installed  ## the pages of docs/ as a site, in site/
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet --strict
	@echo 'site/index.html; to search in it: python3 -m http.server --directory site'

format: $(TEST)/.installed  ## write the code as the formatter has it
	@$(TEST)/bin/ruff check --fix $(SOURCES)
	@$(TEST)/bin/ruff format $(SOURCES)

clean:  ## remove the environments and caches
	rm -rf $(DEMO) $(TEST) $(PEER) $(DOCS) demo-results site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEMO)/.installed: requirements-demo.txt
$(TEST)/.installed: requirements-test.txt requirements-demo.txt requirements-docs.txt requirements-observability.txt requirements-registry.txt
$(DOCS)/.installed: requirements-docs.txt
$(DEMO)/.installed $(TEST)/.installed: requirements.txt
$(DEMO)/.installed $(TEST)/.installed $(DOCS)/.installed: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed, found " + sys.version)'
	@echo "installing $(patsubst .venv-%,requirements-%.txt,$(@D)) into $(@D) (once, some minutes)"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $(patsubst .venv-%,requirements-%.txt,$(@D))
	@touch $@

# The fuzzer has wheels for Linux alone, and nothing else needs it.
$(TEST)/.fuzzer: requirements-fuzz.txt $(TEST)/.installed
	@$(TEST)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-fuzz.txt
	@touch $@

# The newest TensorFlow that tensorflow-io can read Kafka for runs on Python 3.11 and below.
$(PEER)/.installed: benchmarks/peer/requirements.txt
	@command -v python3.11 > /dev/null || { echo "python3.11 is needed for the peer of the benchmarks"; exit 1; }
	@echo "installing benchmarks/peer/requirements.txt into $(@D) (once, some minutes)"
	@python3.11 -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peer/requirements.txt
	@touch $@
