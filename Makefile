# Two commands do everything on a machine with python3, pip and make: `make sweep` and `make test`.
PYTHON := .venv/bin/python
INSTALL := $(PYTHON) -m pip install --quiet --constraint constraints.txt --editable

.PHONY: sweep test lint

# Every ablation and a small search on the embedded digits: no data and no network needed once it is installed.
# 15 epochs, so that it takes about five minutes on two cores, once it is installed.
sweep: .venv/.installed
	$(PYTHON) sweeps/full.py --data digits --epochs 15 --samples 8

test: .venv/.installed-dev lint
	$(PYTHON) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

lint: .venv/.installed-dev
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

# What a sweep needs, and no more.
.venv/.installed: pyproject.toml constraints.txt
	python3 -m venv .venv
	$(INSTALL) .
	touch $@

# The rest: linters, test runners, a browser driver, stand-ins for clouds.
.venv/.installed-dev: .venv/.installed
	$(INSTALL) '.[dev]'
	touch $@
