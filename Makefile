# Two commands do everything on a machine with python3, pip and make: `make sweep` and `make test`.
PYTHON := .venv/bin/python

.PHONY: sweep test lint

# Every ablation and a small search on the embedded digits: no data and no network needed once it is installed.
sweep: .venv/.installed
	$(PYTHON) sweeps/full.py --data digits --samples 8

test: .venv/.installed lint
	$(PYTHON) -m pytest --numprocesses 2 --dist loadfile

lint: .venv/.installed
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

.venv/.installed: pyproject.toml constraints.txt
	python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
