PYTHON := .venv/bin/python

.PHONY: sweep test

.venv/.installed: pyproject.toml constraints.txt
	python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
