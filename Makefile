# Two commands for a fresh clone:  make demo  (see it work)  and  make test  (check it).
# Needs Python >= 3.10 with venv, and make. Another interpreter: make PYTHON=python3.12 demo
# Without an NVIDIA GPU, add TORCH=cpu: PyTorch's CPU build takes 1.5 GB in place of 6.5.

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
PHOTOS = ../shared/data/photos

MINUTES = 5
TORCH ?=
CPU_WHEELS = https://download.pytorch.org/whl/cpu

.PHONY: help demo app test slow fuzz photos docs clean

help:
	@echo "make demo    complete the photos in examples/ into results/"
	@echo "make app     open the page for photos, folders and videos in the browser"
	@echo "make test    lint, types and tests"
	@echo "make slow    the tests that take minutes"
	@echo "make fuzz    damaged files for every reader, for MINUTES=$(MINUTES)"
	@echo "make photos  complete the development photos in $(PHOTOS), where they are"
	@echo "make docs    build the documentation into site/"
	@echo "make clean   remove what the other targets made, but for $(VENV)"
	@echo "With TORCH=cpu, PyTorch comes without CUDA: 1.5 GB in place of 6.5."

demo: $(VENV)/.installed
	$(BIN)/ostec complete examples --save-dir results --iterations 60 --frontalize --iterations-frontalize 60
	@echo "Done. To look: open results/index.html in a browser, or try your own photos with: make app"

app: $(VENV)/.installed-app
	$(BIN)/ostec app

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
	@case "$(TORCH)" in \
		"") ;; \
		cpu) $(BIN)/python -m pip install torch torchvision --index-url $(CPU_WHEELS) ;; \
		*) echo "TORCH is cpu or nothing, not $(TORCH)." >&2; exit 1 ;; \
	esac
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --editable .
	@touch $@

$(VENV)/.installed-app: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --editable '.[app]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --editable '.[app,dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --editable '.[docs]'
	@touch $@ $(VENV)/.installed
