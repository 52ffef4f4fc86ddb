# Every target sets the project up on first use. Options are variables: make bench GPU=h100 SUITE=smoke PLAN=1

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed
OLDEST := .venv-oldest
NEWEST := .venv-newest
NEWEST_TRITON_VERSION := 3.9.0
NEWEST_TRITON := .venv-triton-$(NEWEST_TRITON_VERSION)

# Packages at the oldest release that pyproject.toml allows; torch and triton, whose older builds need CUDA's libraries,
# and the tools of the tests as constraints.txt has them.
AS_PINNED := ^(torch|triton|pytest|pytest-benchmark|hypothesis|check-jsonschema)==
VERSION_TESTS := tests/models tests/tasks tests/attention tests/vision_encoders tests/video tests/reports \
	tests/training/test_log.py tests/bench/test_cli.py

GPU   ?= auto
SUITE ?= default
OUT   ?= results

.DEFAULT_GOAL := help
.PHONY: help setup bench evaluate compare report doctor test test-oldest test-newest check-kernels microbench gpu-check \
	train-embedded lint clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: $(STAMP)  ## Install into .venv (done by every other target when needed)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$$($(PYTHON) --version) is too old: Python 3.11 or newer is needed (make PYTHON=python3.12 ...)"; exit 2; }
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

bench: $(STAMP)  ## Measure: GPU= SUITE= ATTN= CHUNK= DTYPE= SETTING= BATCH= ENGINE= VIDEO= CHECKPOINT= OUT= PLAN=1 RESUME=
	@$(BIN)/python -m bench run --gpu '$(GPU)' --suite '$(SUITE)' --out '$(OUT)' \
		$(if $(ATTN),--attn '$(ATTN)') $(if $(CHUNK),--chunk '$(CHUNK)') $(if $(DTYPE),--dtype '$(DTYPE)') \
		$(if $(SETTING),--setting '$(SETTING)') $(if $(BATCH),--batch '$(BATCH)') \
		$(if $(ENGINE),--engine '$(ENGINE)') $(if $(UPSTREAM),--upstream '$(UPSTREAM)') \
		$(if $(UPSTREAM_PYTHON),--upstream-python '$(UPSTREAM_PYTHON)') \
		$(if $(VIDEO),--video '$(VIDEO)') $(if $(CHECKPOINT),--checkpoint '$(CHECKPOINT)') \
		$(if $(TASK_CHECKPOINT),--task-checkpoint '$(TASK_CHECKPOINT)') $(if $(GEOMETRY),--geometry '$(GEOMETRY)') \
		$(if $(PLAN),--plan) $(if $(RESUME),--resume '$(RESUME)')

evaluate: $(STAMP)  ## The published reconstruction evaluation: VIDEO= OUTPUT_DIR= GPU= RESUME= ARGS='--max-clips 2'
	@$(BIN)/python -m bench evaluate --device '$(GPU)' --out '$(OUT)' $(if $(VIDEO),--video '$(VIDEO)') \
		$(if $(OUTPUT_DIR),--output-dir '$(OUTPUT_DIR)') $(if $(RESUME),--resume '$(RESUME)') $(ARGS)

# make exits with 2 whatever a command's exit code was; 1 it knows only in question mode (-q), for "not up to date". So
# that the verdict "worse" comes out as 1, the comparison is made while this file is read, and question mode hands it on.
ifeq ($(MAKECMDGOALS),compare)
$(shell $(MAKE) --no-print-directory setup >&2 && $(BIN)/python -m bench compare '$(A)' '$(B)' \
	$(if $(TOLERANCE),--tolerance '$(TOLERANCE)') $(foreach field,$(ALLOW),--allow '$(field)') >&2)
ifeq ($(.SHELLSTATUS),1)
MAKEFLAGS += -q
else ifneq ($(.SHELLSTATUS),0)
$(error the runs cannot be compared)
endif
endif
compare:  ## Is run B worse than run A? A= B= TOLERANCE= ALLOW= (0 no, 1 yes, 2 not comparable)
	@:

report: $(STAMP)  ## One report over several runs: RUNS="a b c" OUT=
	@$(BIN)/python -m bench report $(RUNS) $(if $(filter command line,$(origin OUT)),--out '$(OUT)')

doctor: $(STAMP)  ## What can run here, what cannot, why, and what to install
	@$(BIN)/python -m bench doctor

test: $(STAMP)  ## Run all tests: ARGS='-k gaze'
	@$(BIN)/python -m pytest $(ARGS)

test-oldest: $(OLDEST)/installed  ## Run tests with the oldest packages allowed: transformers 4.51.3, PyAV 17 ...
	@$(OLDEST)/bin/python -m pytest -q $(VERSION_TESTS)

$(OLDEST)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -m venv $(OLDEST)
	@grep -E '$(AS_PINNED)' constraints.txt > $(OLDEST)/constraints.txt
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -r $(OLDEST)/constraints.txt uv
	@$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct \
		-c $(OLDEST)/constraints.txt -e '.[train]'
	@touch $@

# torch and triton included, of which PyPI's newest may be gigabytes; so CI leaves it out.
test-newest: $(NEWEST)/installed  ## The same tests and a smoke cell with the newest release of every package
	@$(NEWEST)/bin/python -m pytest -q $(VERSION_TESTS)
	@$(NEWEST)/bin/python -m bench run --suite smoke --setting ratio_0.75_task_0.70 --out '$(OUT)'

$(NEWEST)/installed: pyproject.toml
	@$(PYTHON) -m venv $(NEWEST)
	@$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -e '.[test]'
	@touch $@

# With the triton that is pinned, held against kernels/compiled.csv, and with PyPI's newest, in which nothing may spill.
check-kernels: $(STAMP) $(NEWEST_TRITON)/installed  ## Compile every kernel as it is launched on five GPUs; no GPU needed
	@$(BIN)/python -m kernels.compilation $(ARGS)
	@PYTHONPATH='$(NEWEST_TRITON)' $(BIN)/python -m kernels.compilation

$(NEWEST_TRITON)/installed: $(STAMP) Makefile
	@rm -rf '$(NEWEST_TRITON)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target '$(NEWEST_TRITON)' \
		triton==$(NEWEST_TRITON_VERSION)
	@touch $@

microbench: $(STAMP)  ## Kernel references and CPU paths one by one, as pytest-benchmark tests and as a run: OUT= ARGS=
	@mkdir -p '$(OUT)'
	@$(BIN)/python -m pytest tests/microbench -m microbench --benchmark-json='$(OUT)/microbench.json' \
		--benchmark-warmup=on --benchmark-warmup-iterations=1 $(ARGS)
	@$(BIN)/python -m bench import '$(OUT)/microbench.json' --out '$(OUT)'

# With the Python that is there, torch, triton and transformers in it; nothing is installed, and PyAV is not needed.
gpu-check:  ## What wants a GPU: suites, tests and goals, within LIMIT= seconds, into one folder: GPU= OUT=
	@$(PYTHON) -m bench gpu-check --gpu '$(GPU)' --out '$(OUT)' $(if $(LIMIT),--limit '$(LIMIT)')

train-embedded: $(STAMP)  ## Train the embedded models anew, hours on two CPU cores: OUT= SCALE=0.01 PROCESSES=2
	@$(BIN)/python -m autogaze.embedded.recipe $(if $(filter command line,$(origin OUT)),--out '$(OUT)') \
		$(if $(SCALE),--scale '$(SCALE)') $(if $(PROCESSES),--processes '$(PROCESSES)')

lint: $(STAMP)  ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean:  ## Remove what setup installed; results stay
	rm -rf $(VENV) $(OLDEST) $(NEWEST) .venv-triton-*
