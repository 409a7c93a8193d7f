#!/usr/bin/env bash
# The embedded default at the paper's scale, on one GPU within eight minutes. See gpu_default.py, or --help.
#
#   studies/embedded/gpu_default.sh --train train.jsonl --validation validation.jsonl --output home --work /tmp/default
#   WHEELS=wheels studies/embedded/gpu_default.sh --model SmolLM2.gguf ...
#
# WHEELS  a folder of wheels (pure Python) that the machine lacks, for machines without a network: they are unpacked
# PYTHON  the Python to run (.venv/bin/python, else python3)
# LIMIT   seconds after which everything is stopped (480); --seconds, which stages are cut to fit into, is less
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
[ -x "$(command -v "$python" || true)" ] || python=python3
paths=$here
if [ -n "${WHEELS:-}" ]; then
  packages=$(mktemp -d)
  for wheel in "$WHEELS"/*.whl; do "$python" -m zipfile -e "$wheel" "$packages"; done
  paths=$paths:$packages
fi
# One block of the card's memory that grows, instead of many that do not fit the next batch; nothing is to be fetched.
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=true
export PYTHONPATH=$paths${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
exec timeout --signal TERM --kill-after 10 "${LIMIT:-480}" "$python" -m studies.embedded.gpu_default "$@"
