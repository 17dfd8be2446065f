# The commands of the course; `make` alone lists them.
#
# PYTHON names the interpreter that .venv is made with:         make PYTHON=python3.12 book
# pip's own settings hold (pip.conf, PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS): on Linux the plain package
# index gives a torch that brings several gigabytes of GPU libraries; point them to a CPU build to do without.

PYTHON ?= python3
PORT ?= 8000
CHAPTER ?=
LAB_OPTIONS ?=
ASSIGNMENT ?=
SUBMISSIONS ?=
ROSTER ?=
GRADING_OPTIONS ?=
LMS ?=
COURSE ?= build/coursework
SOURCES ?= book/coursework/source

VENV := .venv
PY := $(VENV)/bin/python
GRADING_PY := PYTHONPATH=tools:. .venv-grading/bin/python
PLACES = --course "$(COURSE)" --sources "$(SOURCES)"

# Real data that lies beside the repository is used when SNN_DATA does not name another place.
ifneq ($(wildcard ../shared/data),)
export SNN_DATA ?= $(abspath ../shared/data)
endif

.DEFAULT_GOAL := help
.PHONY: help book test lab execute serve pdf artwork bench mutate coursework grade marks feedback repository links lint format clean environment
.PHONY: grading-environment

help: ## list the commands
	@echo "make COMMAND, where COMMAND is one of"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

book: environment ## build the HTML book into _build/html from the notebooks' stored outputs
	@$(PY) tools/book.py

test: lint book ## run everything: lint, the book, examples in docstrings, unit tests, chapters (nbval), the pages in Chromium
	@$(PY) -m pytest --doctest-modules snnlib
	@$(PY) -m pytest tests $$($(PY) tools/chapters.py) --nbval --nbval-current-env --nbval-cell-timeout=120 \
		--nbval-sanitize-with=tests/nbval_sanitize.cfg

lab: environment ## open the chapters in JupyterLab (LAB_OPTIONS=...: what to pass to it)
	@"$(PYTHON)" tools/environment.py lab
	@JUPYTER_PREFER_ENV_PATH=1 .venv-lab/bin/python -m jupyterlab --notebook-dir=. $(LAB_OPTIONS)

execute: environment ## run all chapters and store their outputs (CHAPTER=one-layer: one of them)
	@$(PY) tools/execute.py $(CHAPTER)

serve: book ## serve the built book on http://127.0.0.1:8000 (PORT=...)
	@echo "http://127.0.0.1:$(PORT)  (end with Ctrl-C)"
	@$(PY) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

pdf: book ## print the whole book as _build/course.pdf (takes some minutes, needs Chromium)
	@$(PY) tools/pdf.py

artwork: environment ## draw the logo, the icon and the pictures of the first page and of links anew
	@$(PY) tools/artwork.py

bench: book ## measure the speed of the library, the figures and the grading, and how hard the bacteria are
	@PYTHONPATH=tests $(PY) tests/benchmarks/run.py
	@PYTHONPATH=tests $(PY) tests/benchmarks/moments.py
	@PYTHONPATH=tests $(PY) tests/benchmarks/contraction.py
	@PYTHONPATH=tests $(PY) tests/benchmarks/training.py
	@PYTHONPATH=tests $(PY) tests/benchmarks/ensembles.py
	@PYTHONPATH=tests:tools $(PY) tests/benchmarks/explorables.py
	@PYTHONPATH=tests:tools $(PY) tests/benchmarks/grading.py
	@$(PY) tests/benchmarks/bacteria.py

mutate: environment ## plant errors in the library and the grader and show that tests notice them
	@MUTATE=1 $(PY) -m pytest tests/test_mutations.py --verbose --no-header

coursework: grading-environment ## make and check what students get, and the solutions (ASSIGNMENT=...: one of them)
	@$(GRADING_PY) -m coursework.release $(PLACES) $(ASSIGNMENT)

grade: grading-environment ## grade ASSIGNMENT=... SUBMISSIONS=... (a folder, zip or download; ROSTER=... a CSV)
	@test -n "$(ASSIGNMENT)" && test -e "$(SUBMISSIONS)" || { echo "make grade ASSIGNMENT=name SUBMISSIONS=folder-or-zip" >&2; exit 2; }
	@PYTHONPATH=tools $(PY) -m coursework "$(ASSIGNMENT)" "$(SUBMISSIONS)" $(PLACES) \
		$(if $(ROSTER),--roster "$(ROSTER)") $(GRADING_OPTIONS); status=$$?; test $$status -le 1 || exit $$status; \
		$(GRADING_PY) -m coursework.record "$(ASSIGNMENT)" $(PLACES) $(if $(ROSTER),--roster "$(ROSTER)")

marks: grading-environment ## write marks for Moodle and Canvas, and statistics (ASSIGNMENT=...; LMS=... exports to fill)
	@$(GRADING_PY) -m coursework.marks $(PLACES) $(ASSIGNMENT) $(addprefix --fill ,$(LMS))

feedback: grading-environment ## write one page for each student (ASSIGNMENT=...: of one assignment)
	@$(GRADING_PY) -m coursework.feedback $(PLACES) $(ASSIGNMENT)

repository: environment ## take the addresses of _config.yml to the files that repeat them
	@$(PY) tools/repository.py

links: environment ## ask every page that the book links to whether it is still there (needs the network)
	@$(PY) tools/links.py

lint: environment ## check the style of code and notebooks
	@$(PY) -m ruff check --quiet . && $(PY) -m ruff format --quiet --check .

format: environment ## format code and notebooks
	@$(PY) -m ruff check --quiet --fix . ; $(PY) -m ruff format --quiet .

clean: ## remove the built book and every cache (environments stay, and build/coursework with the marks)
	@rm -rf _build .pytest_cache .ruff_cache .benchmarks *.egg-info
	@test ! -d build || find build -mindepth 1 -maxdepth 1 -not -name coursework -exec rm -rf {} +
	@find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

grading-environment: environment
	@"$(PYTHON)" tools/environment.py grading

environment:
	@command -v "$(PYTHON)" > /dev/null || { echo "set-up failed: there is no $(PYTHON); install Python 3.11 or newer, or name one: make PYTHON=python3.12 book" >&2; exit 1; }
	@"$(PYTHON)" tools/environment.py book
