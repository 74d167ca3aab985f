# `make demo` and `make test` set everything up by themselves: they need make, and a python3 (3.11 to 3.13) with venv and pip.
#
# The GPU targets also run on an interpreter that already has torch and triton, without a venv and without a network:
#     make test-gpu PYTHON=python3

JOBS ?= 2

VENV    := .venv
READY   := $(VENV)/.installed
# The checkout comes first on the path, so examples/ and benchmarks/ run without an install as well.
RUN     := PYTHONPATH=$(CURDIR) $(VENV)/bin/python
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

ifeq ($(origin PYTHON), undefined)
PYTHON    := python3
GPU_RUN   := $(RUN)
GPU_READY := $(READY)
else
GPU_RUN   := PYTHONPATH=$(CURDIR) $(PYTHON)
GPU_READY :=
endif

.PHONY: help demo test lint mutants bench over-compute bench-gpu test-gpu inspect score-cost docs wheel clean statistics routing-cost bench-routed
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY)  ## train a small text model on a CPU with a pattern of your own
	$(RUN) examples/train_text.py --demo

test: lint  ## lint, types, tests and doctests; stops at the first that fails
	$(RUN) -m pytest -n $(JOBS) --dist worksteal

lint: $(READY)  ## style, format and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy examples
	$(VENV)/bin/mypy --explicit-package-bases benchmarks

mutants: $(READY)  ## plant bugs in the compiler, and see the fuzzer find them: up to five minutes each
	$(RUN) -m tests.mutants --jobs $(JOBS)

bench: $(READY)  ## measure the torch backend on this CPU
	$(RUN) -m benchmarks.bench_cpu

statistics: $(READY)  ## statistics where P would take 16 GiB, beside dense float64 on samples; their memory
	$(RUN) -m benchmarks.statistics_memory

bench-routed: $(READY)  ## MoBA and BiFormer beside dense attention and FlexAttention on this CPU
	$(RUN) -m benchmarks.bench_routed

routing-cost: $(READY)  ## a route's time and memory, forward and backward, as the length grows to 65,536
	$(RUN) -m benchmarks.routing_cost

over-compute: $(READY)  ## pairs computed to a live pair, beside FlexAttention's, and metadata
	$(RUN) -m benchmarks.over_compute

bench-gpu: $(GPU_READY)  ## measure the Triton kernels on this GPU
	$(GPU_RUN) -m benchmarks.bench_gpu
	$(GPU_RUN) -m benchmarks.bench_routed --device cuda

# What is left out asks for packages of the command line and the docs, which a machine for kernels need not have.
test-gpu: $(GPU_READY)  ## the tests that need a GPU
	$(GPU_RUN) -m pytest -m gpu tests $(addprefix --ignore=tests/,frontends mutants test_docs.py test_errors.py)

inspect: $(READY)  ## compile the kernels for every target, no GPU needed, and show what they use
	$(RUN) -m benchmarks.inspect_kernels

score-cost: $(READY)  ## count the instructions that scores add to the loop over full tiles, no GPU needed
	$(RUN) -m benchmarks.score_cost

docs: $(READY)  ## build the documentation into site/; the code of its pages runs
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

wheel: $(READY)  ## build the wheel into dist/
	$(VENV)/bin/python -m build --wheel --no-isolation

clean:  ## remove what was built and cached; the venv stays
	rm -rf build dist site .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

# torch comes first and brings what its build needs (CUDA, or nothing). The rest is pinned one by one, without resolving:
# a CUDA build of torch asks for one exact triton, and attnir runs on a newer one too. Nothing is fetched when all is there.
$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("attnir needs Python 3.11 to 3.13, \
	this is %s. Name another one: make test PYTHON=python3.12" % sys.version.split()[0])'
	test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	$(INSTALL) "$$(grep '^torch==' constraints.txt)"
	$(INSTALL) --no-deps -r constraints.txt
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@
