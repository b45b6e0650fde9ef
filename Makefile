# `make demo` and `make test` are the two commands; both set up what they need.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
CLEANPLATE := $(BIN)/cleanplate
PAIR := src/cleanplate/app/static/examples/hall

.PHONY: help venv demo test bench bench-long lint clean

help:
	@echo "make demo   set up, render the sample set, train on it, evaluate (seven to ten minutes on two cores)"
	@echo "make test   set up and run every test"
	@echo "make bench  set up and compare with the report's way: about twenty minutes, nothing else running"
	@echo "make bench-long   set up and compare what float32 and the fast way learn, with three seeds"
	@echo "make lint   set up and run ruff and mypy"
	@echo "make venv   set up alone: the environment .venv"
	@echo "make clean  remove what demo has made"

venv: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
	  f"cleanplate needs Python 3.11 or newer, and $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	@echo "==> installing into .venv (a minute or two, the first time alone)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev]'
	@touch $@

demo: venv
	@echo "==> mask and depth of a picture with the package's own weights, in demo/pair"
	@$(CLEANPLATE) predict --plate $(PAIR)-plate.jpg $(PAIR)-frame.jpg --out demo/pair
	@test -d demo/museum || { echo "==> rendering the sample set: rooms with people, in demo/museum"; \
	  $(CLEANPLATE) data museum demo/museum --rooms 1400 --figures 150 --frames 2 --size 96; }
	@echo "==> checking it"
	@$(CLEANPLATE) data check demo/museum
	@echo "==> training recipe quick, in demo/run"
	@if test -f demo/run/recipe.yaml; then $(CLEANPLATE) train --resume demo/run; \
	  else rm -rf demo/run && $(CLEANPLATE) train quick --data demo/museum --run demo/run; fi
	@echo "==> evaluating it: new_both are rooms and people that it never saw"
	@$(CLEANPLATE) evaluate --weights demo/run --data demo/museum
	@echo "previews: demo/run/previews   curves: demo/run/curves   TensorBoard: $(BIN)/tensorboard --logdir demo/run/events"

# In the files' own order: sorted by their number of tests, those with one or two long ones would come last, on one core alone.
test: venv
	@echo "==> running every test, a process on each core"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

bench: venv
	@echo "==> measuring; benchmarks/results.json"
	@$(BIN)/python benchmarks/bench.py

bench-long: venv
	@echo "==> comparing what both ways learn in 300 steps; benchmarks/curves.json"
	@$(BIN)/python benchmarks/curves.py

lint: venv
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean:
	rm -rf demo
