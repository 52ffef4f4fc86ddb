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
.PHONY: help setup bench evaluate compare regress calibrate selfcheck report list suites axes doctor test test-oldest test-newest check-kernels \
	microbench gpu-check train-embedded lint clean

# The variables that were typed, make's own way of knowing; bench/make_targets.py says which a target takes, and turns
# them into options. From the environment come GPU, SUITE and OUT alone.
TYPED := $(sort $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name))))
GIVEN := $(TYPED) $(foreach name,GPU SUITE OUT,$(if $(filter environment,$(origin $(name))),$(name)))

# A misspelt variable is refused before anything is set up. A make inside a make has the outer one's variables, too.
ifeq ($(MAKELEVEL),0)
ifneq ($(TYPED),)
REFUSAL := $(shell $(PYTHON) -m bench.make_targets check $(MAKECMDGOALS) -- $(TYPED))
$(if $(REFUSAL),$(error $(REFUSAL)))
endif
endif

# make exits with 2 whatever a command's exit code was. In question mode (-q) it hands on 1, which says that something
# failed or is worse; what begins with a + is carried out even so, unless only asked for what would be done (-n).
GRADED := bench evaluate compare regress
DRY    := $(findstring n,$(firstword -$(MAKEFLAGS)))
ALWAYS := $(if $(DRY),@,+@)
# A command that was typed elsewhere (make -C) says so where it is shown.
export MAKE_CALLED_FROM := $(PWD)
ifneq ($(MAKECMDGOALS),)
ifeq ($(filter-out $(GRADED),$(MAKECMDGOALS))$(DRY),)
MAKEFLAGS += -q
endif
endif

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: $(STAMP)  ## Install into .venv (done by every other target when needed)

$(STAMP): pyproject.toml constraints.txt
	$(ALWAYS)$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || \
		{ echo "Python 3.11 or newer is needed, and $(PYTHON) is none: name one with PYTHON=python3.12" >&2; exit 2; }
	$(ALWAYS)echo "Setting up $(VENV) ..." >&2
	$(ALWAYS)$(PYTHON) -m venv $(VENV)
	$(ALWAYS)$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	$(ALWAYS)touch $@

bench: $(STAMP)  ## Measure: GPU= SUITE= VIDEO= CHECKPOINT= OUT= PLAN=1 RESUME= RETRY=1 SAMPLES= TIME_BUDGET= PROFILE=1 and any axis
	$(ALWAYS)$(BIN)/python -m bench.make_targets run $@ $(GIVEN)

evaluate: $(STAMP)  ## The published reconstruction evaluation: VIDEO= OUTPUT_DIR= GPU= RESUME= MAX_CLIPS= CLIP_STARTS=
	$(ALWAYS)$(BIN)/python -m bench.make_targets run $@ $(GIVEN)

compare: $(STAMP)  ## Is run B worse than run A? A= B= TOLERANCE= ALLOW= (0 no, 1 yes, else neither is known)
	$(ALWAYS)$(BIN)/python -m bench.make_targets run $@ $(GIVEN)

regress: $(STAMP)  ## Is this tree worse than another commit? Both in turns: BASE= SUITE= GPU= BUDGET= and any axis
	$(ALWAYS)$(BIN)/python -m bench.make_targets run $@ $(GIVEN)

calibrate: $(STAMP)  ## How far two runs of this tree differ here; compare and regress use it: SUITE= GPU= PROCESSES= PAIRS=
	@$(BIN)/python -m bench.make_targets run $@ $(GIVEN)

selfcheck: $(STAMP)  ## How often the verdicts are wrong here, without load and under it: COMPARISONS= MINUTES= SEED= FORMAT=
	@$(BIN)/python -m bench.make_targets run $@ $(GIVEN)

report: $(STAMP)  ## One report over several runs: RUNS="latest latest~1" OUT=
	@$(BIN)/python -m bench.make_targets run $@ $(TYPED)

list: $(STAMP)  ## The runs that there are: RESULTS=
	@$(BIN)/python -m bench.make_targets run $@ $(TYPED)

suites: $(STAMP)  ## The suites that there are
	@$(BIN)/python -m bench.make_targets run $@ $(TYPED)

axes: $(STAMP)  ## What a suite can be narrowed by, and the variable for it: SUITE=
	@$(BIN)/python -m bench.make_targets run $@ $(GIVEN)

doctor: $(STAMP)  ## What can run here, what cannot, why, and what to install
	@$(BIN)/python -m bench.make_targets run $@ $(TYPED)

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

# With the Python that is there, torch, triton and transformers in it; nothing is installed: what it lacks is taken from
# WHEELS=, a folder of wheels. PyAV is not needed.
gpu-check:  ## What wants a GPU: first contact, variants, suites, tests, goals, within LIMIT= seconds: GPU= OUT= WHEELS=
	@$(PYTHON) -m bench.make_targets run $@ $(GIVEN)

train-embedded: $(STAMP)  ## Train the embedded models anew, hours on two CPU cores: OUT= SCALE=0.01 PROCESSES=2
	@$(BIN)/python -m autogaze.embedded.recipe $(if $(filter command,$(origin OUT)),--out '$(OUT)') \
		$(if $(SCALE),--scale '$(SCALE)') $(if $(PROCESSES),--processes '$(PROCESSES)')

lint: $(STAMP)  ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean:  ## Remove what setup installed; results stay
	rm -rf $(VENV) $(OLDEST) $(NEWEST) .venv-triton-*
