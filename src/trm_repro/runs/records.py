"""What the steps note while they work: one JSON object a line, appended, never rewritten.

``commands.jsonl``: every wrapped command with its words, folder, variables, times, exit code and the machine it ran on.
``guards.jsonl``: every guard's outcome. ``lib/run.bash`` writes both, at once. The manifest takes from them what belongs to
the attempt that succeeded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Variables that change what a wrapped command computes, which code it loads or where it runs. They are recorded with every
# command; with the builder and the training, all that reach them are.
OF_INTEREST = ("DISABLE_COMPILE", "HYDRA_FULL_ERROR", "LD_LIBRARY_PATH", "LD_PRELOAD", "WANDB_DISABLED", "WANDB_MODE")
PREFIXES = (
    *("CUBLAS", "CUDA", "CUDNN_", "GLOO_", "KMP_", "MKL_", "NCCL_", "NUMBA_", "NVCC_", "NVIDIA_", "OMP_", "OPENBLAS_"),
    *("GOMP_", "PYTHON", "PYTORCH_", "TORCH", "TRITON_"),
)
# Variables that reach the builder and the training, as regular expressions of whole names. Nothing else does that is set, but
# for what the step itself sets for them.
PASSES = (
    # where things lie, and who asks
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TMP", "TEMP", "XDG_[A-Z]+_(HOME|DIR)", "LD_LIBRARY_PATH"),
    *("HF_HOME", "HF_HUB_(CACHE|OFFLINE)", "WANDB_(CACHE_DIR|CONFIG_DIR|DATA_DIR)"),
    # language and terminal
    *("LANG", "LANGUAGE", "LC_[A-Z]+", "TZ", "TERM", "COLUMNS", "LINES", "NO_COLOR"),
    # which GPUs, and how they talk; not what NCCL would load
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "CUDA_HOME"),
    *(
        "NCCL_(.*_)?(DEBUG|DEBUG_SUBSYS|DEBUG_FILE|IFNAME|HCA|FAMILY|DISABLE|LEVEL|TIMEOUT|ALGO|PROTO|BUFFSIZE)",
        "NCCL_(SOCKET_)?(NTHREADS|NSOCKS_PERTHREAD)",
    ),
    *("NCCL_(CUMEM|MIN|MAX|NVLS|CHECKS|LAUNCH)_[A-Z_]+", "TORCH_NCCL_[A-Z_]+", "GLOO_SOCKET_IFNAME"),
    # how memory and cores are shared
    *("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"),
    *("PYTORCH_(CUDA_)?ALLOC_CONF", "(OMP|MKL|OPENBLAS|NUMBA|NUMEXPR)_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS"),
    # the way out, for Weights & Biases
    *(
        "(HTTP|HTTPS|ALL|NO)_PROXY",
        "(http|https|all|no)_proxy",
        "SSL_CERT_(FILE|DIR)",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ),
    *("WANDB_(BASE_URL|ENTITY|PROJECT|TAGS|NOTES|SILENT|HTTP_TIMEOUT|INIT_TIMEOUT)",),
    # the C compiler that kernels are launched through
    *("CC", "CXX", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "TORCH_CUDA_ARCH_LIST", "MAX_JOBS"),
    # what is told
    *("HYDRA_FULL_ERROR", "TQDM_(MININTERVAL|DISABLE)", "TRM_REPRO_(STEP|TERMINAL|LOG|MATMUL)"),
)
# Of those that are recorded with a command, what is named and not told: whom they belong to, and what stands in an address.
UNTOLD = ("USER", "LOGNAME", "(HTTP|HTTPS|ALL|NO|http|https|all|no)_(PROXY|proxy)")
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
# The same as regular expressions, for the shell: names that are recorded, and upper-case names that never are.
RECORDED = f"^({'|'.join(OF_INTEREST)})$|^({'|'.join(PREFIXES)})"
SECRET = "|".join(SECRET_WORDS)
PASSING = f"^({'|'.join(PASSES)})$"
MASKED = f"{SECRET}|^({'|'.join(UNTOLD)})$"


def is_secret(name: str) -> bool:
    """Whether a variable of this name may hold a secret."""
    return any(word in name.upper() for word in SECRET_WORDS)


# The user information of an address; the second form is one whose password has a raw '/', which is no address any more.
USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\s]*|[^/?#\s@:]*:(?!\d*(?:[/?#\s]|$))\S*)@")
MASK = "********"
STEP = re.compile(r"[0-9]{2}-[a-z-]{1,40}")


def masked(text: str) -> str:
    """A text with the user and password of every address in it masked; a user of ssh without a password is no secret.

    ``masked`` in env.sh does the same for the shell.
    """

    def mask(found: re.Match[str]) -> str:
        plain = found[1].endswith("ssh") and ":" not in found[2]
        return found[0] if plain else f"{found[1]}://{MASK}@"

    return USER_INFO.sub(mask, text)


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Adds one line to a record file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All entries of a record file, in order; a line that is none (the last one, cut off by a kill) is left out.

    Bytes that are no UTF-8 are read as U+FFFD: what is made of the entries is UTF-8.
    """
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and STEP.fullmatch(str(entry.get("step"))) and isinstance(entry.get("started"), str):
            entries.append(entry)
    return entries
