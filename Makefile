# Two commands for a fresh clone:  make demo  (see it work)  and  make test  (check it).
# Needs Python >= 3.10 with venv, and make. Another interpreter: make PYTHON=python3.12 demo

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
PHOTOS = ../shared/data/photos

MINUTES = 5

.PHONY: help demo test slow fuzz photos docs clean

help:
	@echo "make demo    complete the photos in examples/ into results/"
	@echo "make test    lint, types and tests"
	@echo "make slow    the tests that take minutes"
	@echo "make fuzz    damaged files for every reader, for MINUTES=$(MINUTES)"
	@echo "make photos  complete the development photos in $(PHOTOS), where they are"
	@echo "make docs    build the documentation into site/"
	@echo "make clean   remove what the other targets made, but for $(VENV)"

demo: $(VENV)/.installed
	$(BIN)/ostec complete examples --save-dir results --iterations 60 --frontalize --iterations-frontalize 60
	@echo "Done: open results/index.html in a browser; the textures and meshes lie beside it."

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow

fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz.fuzz --minutes $(MINUTES)

photos: $(VENV)/.installed
	@if [ -d "$(PHOTOS)" ]; then \
		$(BIN)/ostec complete "$(PHOTOS)" --save-dir results/photos --iterations 60 --frontalize --iterations-frontalize 60; \
	else \
		echo "Skipped: the development photos are not at $(PHOTOS)."; \
	fi

docs: $(VENV)/.installed-docs
	$(BIN)/python tools/make_tables.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/mkdocs/mkdocs.yml
	@echo "Done: open site/index.html in a browser."

clean:
	rm -rf results site build dist .pytest_cache .mypy_cache .ruff_cache .coverage
	find ostec tests tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Each stamp is newer than pyproject.toml once its step is done; the step is repeated when pyproject.toml changes.
# The install is editable: what is edited here is what runs.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "ostec needs Python 3.10 or newer; name one with: make PYTHON=python3.12 demo" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --editable '.[docs]'
	@touch $@ $(VENV)/.installed
