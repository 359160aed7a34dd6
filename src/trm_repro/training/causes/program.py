"""Failures of the environment, the configuration, the data, and of processes that lose each other."""

from __future__ import annotations

from trm_repro.training.causes.kinds import AGAIN, DATASET, DIVERGED, REBUILD, SYMPTOM, UPSTREAM, Cause

LOST = "a process lost its connection to another one; that one failed first and left no cause in these lines"
LOOK = "Look at the first error in the log, and at nvidia-smi and dmesg for a GPU or process that is gone. " + AGAIN

PROGRAM = (
    Cause(
        "missing extension",
        "the optimiser's CUDA part is not installed, or was built for another torch",
        REBUILD,
        raised=(
            "ModuleNotFoundError: No module named 'adam_atan2(?:_backend)?'",
            r"(?:ImportError|OSError): [^\n]*adam_atan2_backend",
        ),
    ),
    Cause(
        "driver's library missing",
        "a library that belongs to the driver is not there",
        "Install the NVIDIA driver; in a container, start it with --gpus all (NVIDIA's container toolkit). " + AGAIN,
        raised=(r"(?:ImportError|OSError): lib(?:cuda|nvidia-ml)\.so\.1: cannot open shared object file",),
    ),
    Cause(
        "system too old",
        "the system's C or C++ library is older than the installed packages need",
        "Use a newer system, or a container of one (machines/Dockerfile), and build the environment there: make "
        "step-3 FORCE=1, then make all.",
        raised=(r"(?:ImportError|OSError): [^\n]*version `(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+' not found",),
        printed=(r"(?!\w+Error: )\S+: \S+: version `(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+' not found",),
    ),
    Cause(
        "folder without execution",
        "a compiled file lies in a folder that is mounted noexec",
        "Keep this repository, VENV_DIR and TMPDIR on disks without noexec (findmnt -T FOLDER shows it). " + AGAIN,
        raised=(r"(?:ImportError|OSError): [^\n]*failed to map segment from shared object(?!: Cannot allocate)",),
    ),
    Cause(
        "environment broken",
        "a module of the training environment is missing, or does not fit the others",
        REBUILD,
        raised=(
            r"ImportError: [^\n]*undefined symbol: ",
            r"OSError: [^\n]*\.so[^\n]*: undefined symbol: ",
            rf"ImportError: cannot import name (?![^\n]*from (?:partially [a-z ]+)?'{UPSTREAM}\b)",
            "TritonMissing: ",
            (  # those that its packages bring
                r"(?:ImportError|OSError): lib(?:cu(?!da\.)|nccl|nvrtc|nvJitLink|nvToolsExt|nvshmem|c10|torch)[\w.-]*: "
                "cannot open shared object file"
            ),
            "AssertionError: Torch not compiled with CUDA enabled",
            (
                "RuntimeError: (?:Cannot find a working triton installation|"
                "Distributed package doesn't have NCCL built in)"
            ),
        ),
        printed=(r"(?:\S*/)?(?:python[\d.]*|torchrun): error while loading shared libraries: ",),
    ),
    Cause(
        "upstream's files",
        "a module of upstream's own was not found: its checkout is incomplete",
        "Check it out again: make step-2 FORCE=1, then make all.",
        raised=(
            rf"ModuleNotFoundError: No module named '{UPSTREAM}(?:\.[\w.]+)?'",
            "MissingConfigException: (?:Primary config directory not found|Cannot find primary config)",
        ),
        printed=(
            "Primary config directory not found",
            "Cannot find primary config ",
            r"\S*python[\d.]*: can't open file '[^']*': \[Errno 2\]",
        ),
    ),
    Cause(
        "missing module",
        "the training environment lacks a module",
        REBUILD,
        raised=(r"ModuleNotFoundError: No module named '[\w.]+'",),
    ),
    Cause(
        "Weights & Biases: no room",
        "the account's storage there is used up",
        "Free some there, or unset WANDB_API_KEY: metrics then stay on this machine. " + AGAIN,
        raised=(
            (
                r"(?:CommError|UsageError|HTTPError): [^\n]*(?:storage (?:limit|quota)|exceeded [^\n]*(?:storage|"
                "quota)|quota (?:has been )?exceeded)"
            ),
        ),
        beside=r"(?i).*(?:wandb|W&B|weights & biases)",
    ),
    Cause(
        "Weights & Biases refuses",
        "the key is missing or wrong, or has no right to that project",
        "Unset WANDB_API_KEY (metrics then stay on this machine), or put a valid one in place: make step-1 "
        "CHECK_REMOTE=1 tries it; unset WANDB_ENTITY and WANDB_PROJECT if they name somebody else's. " + AGAIN,
        raised=(
            r"UsageError: (?:No API key configured|api_key not configured|[^\n]*API key)",
            "AuthenticationError: [^\\n]*(?:API key|api_key)",
            r"\w+: API key must (?:be|have|contain)",
            (
                r"CommError: (?:It appears that you do not have permission|permission denied|[^\n]*(?:\b40[134]\b|"
                r"[Uu]nauthori[sz]ed|not logged in|entity \S+ not found))"
            ),
        ),
    ),
    Cause(
        "Weights & Biases not reached",
        "its server, or its helper process on this machine, did not answer in time",
        "Unset WANDB_API_KEY: metrics then stay on this machine, and nothing waits for a network. Or mend the "
        "network or proxy: make step-1 CHECK_REMOTE=1 tries it. " + AGAIN,
        raised=(
            "UsageError: Error communicating with wandb process",
            (
                r"CommError: (?:Run initialization has timed out|[^\n]*(?:timed out|[Tt]imeout|[Nn]etwork error|"
                "[Cc]onnection|Error communicating))"
            ),
            (
                "(?:ServicePollForTokenError|ServiceStartTimeoutError|ServiceStartProcessError|"
                r"WandbCoreNotAvailableError|WandbServiceNotOwnedError|WandbServiceConnectionError)\b"
            ),
            (
                "(?:ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|"
                r"MaxRetryError): [^\n]*api\.wandb\.ai"
            ),
        ),
    ),
    Cause(
        "port in use",
        "torchrun could not open its port: another program has it",
        "Let it end, or end the other training on this machine: ss -ltnp shows who has the port. " + AGAIN,
        raised=(
            (
                r"(?:DistNetworkError|RuntimeError|DistStoreError|OSError): [^\n]*(?:EADDRINUSE|"
                r"[Aa]ddress already in use|\[Errno 98\])"
            ),
        ),
        printed=(
            (
                r"(?:\[c10d\] )?The server socket has failed to listen on any local network address\.[^\n]"
                "*EADDRINUSE"
            ),
        ),
    ),
    Cause(
        "configuration refused",
        "a word of the command is not one that the program knows",
        "Remove EXTRA_TRAIN_ARGS and EXTRA_BUILDER_ARGS; the recipe's own words are known to work at its pin. " + AGAIN,
        raised=(
            (
                "(?:ConfigCompositionException|OverrideParseException|MissingConfigException|"
                "ConfigAttributeError|ConfigKeyError|MissingMandatoryValue|ConfigTypeError|InterpolationKeyError|"
                r"InterpolationResolutionError|LexerNoViableAltException)\b"
            ),
            r"ValidationError: \d+ validation errors? for \w*Config\b",
        ),
        printed=(
            "Could not override '",
            r"Could not append to config\. An item is already at '",
            "Error merging override ",
            "Error parsing override '",
            "Could not load '",
            r"In '[\w/.]+': Could not (?:find|load) '",
            "LexerNoViableAltException: ",
            "mismatched input '",
            "no viable alternative at input '",
            "missing EQUAL at '",
            "token recognition error at: '",
            "extraneous input '",
            "Missing mandatory value: ",
            r"You must specify '[\w./]+', e\.g",
            r"\S+: error: (?:unrecognized arguments|argument |the following arguments are required)",
        ),
    ),
    Cause(
        "number of GPUs",
        "the batch cannot be split evenly among that many processes",
        "Set MAX_GPUS_TO_USE to a number that divides the recipe's batch (768: 1, 2, 3, 4, 6, 8), and run make all.",
        raised=(
            (
                r"AssertionError: [^\n]*[Bb]atch size \d+ must be (?:a )?multiples? of (?:nodes|world|GPUs|"
                "processes)"
            ),
        ),
    ),
    Cause(
        "no process group",
        "upstream's ARC evaluator works under torchrun only",
        "Start the training through this runbook, make all; it uses torchrun for one GPU too.",
        raised=("(?:ValueError|RuntimeError): Default process group has not been initialized",),
    ),
    Cause(
        "inference tensor",
        "this torch cannot go on after upstream's evaluation: a tensor made in it is changed outside (seen with "
        "torch 2.4 and 2.5)",
        "Train in the locked environment, whose torch can: unset ENV_LOCK, make step-3 FORCE=1, then make all.",
        raised=(
            (
                "RuntimeError: (?:Inplace update to inference tensor outside InferenceMode|"
                "Inference tensors cannot be saved for backward)"
            ),
        ),
    ),
    Cause(
        "checkpoint of another model",
        "the weights to load do not have the tensors of this model",
        "They belong to another recipe or dataset. Unset RESUME and EXTRA_TRAIN_ARGS; if the recipe names the "
        "weights, delete that file, and make step-4 FORCE=1 fetches it again. Then run make all.",
        raised=(r"RuntimeError: Error\(s\) in loading state_dict for ",),
    ),
    Cause(
        "checkpoint unreadable",
        "a file of weights is cut off or is none",
        "Unset RESUME, or delete the file that is named; if the recipe names the weights, make step-4 FORCE=1 "
        "fetches them again. Then run make all.",
        raised=(
            "RuntimeError: PytorchStreamReader failed",
            "UnpicklingError: ",
            "EOFError: Ran out of input",
            "SafetensorError: Error while deserializing header",
        ),
        outside=r"/(?:_inductor|triton|multiprocessing)/",  # pickles of their own
    ),
    Cause(
        "dataset missing",
        "a file of the dataset is not there",
        DATASET,
        raised=(
            (
                r"FileNotFoundError: \[Errno 2\] [^\n]*: '(?:data/[^'\n]+'|[^'\n]*/data/[^'/\n]+/(?:train|"
                r"test)(?:/[^'\n]*)?'|(?:[^'\n]*/)?(?:dataset\.json|identifiers\.json|test_puzzles\.json|"
                r"\w+__(?:inputs|labels|puzzle_identifiers|puzzle_indices|group_indices)\.npy)')"
            ),
        ),
    ),
    Cause(
        "dataset damaged",
        "a file of the dataset is empty, cut off or another",
        DATASET,
        raised=(
            (
                "ValueError: (?:mmap length is greater than file size|cannot mmap an empty file|"
                "cannot reshape array of size|Cannot load file containing pickled data)"
            ),
            "EOFError: No data left in file",
            "JSONDecodeError: ",
        ),
        frames=r"\b(?:puzzle_dataset|evaluators/\w+|dataset/(?:common|build_\w+))\.py\b",
    ),
    Cause(
        *DIVERGED,
        raised=(
            (
                "(?:FloatingPointError|ValueError|RuntimeError|AssertionError|ArithmeticError): (?i:(?:the |"
                "train(?:ing)? )?loss (?:is|became|was|=|has become) ?(?:nan|inf|not finite|non-finite)|(?:nan|"
                r"non-finite|infinite) (?:value in |found in )?loss|function '\w+' returned nan values|"
                "NaN (?:detected|encountered) in loss)"
            ),
        ),
        printed=(r"(?i:loss is (?:nan|inf)\b[^\n]*stopping)",),
    ),
    Cause(
        "gathering the evaluation",
        "the processes wait for each other's predictions at an evaluation, and that took longer than allowed",
        "Their volume grows with the number of augmentations, which the recipe fixes; what helps is a faster "
        "machine: more memory, faster cores, nothing else running. " + AGAIN,
        raised=(
            (
                "(?:DistBackendError|RuntimeError|DistStoreError|"
                r"TimeoutError): (?i:[^\n]*(?:\n[^\n]*)*?(?:timed out|timeout|collective operation timeout))"
            ),
        ),
        frames=r"\b(?:all_)?gather_object\b",
        rank=SYMPTOM,
    ),
    Cause(
        "processes did not meet",
        "the processes of the run did not find each other at its start",
        "If another failed before, its words stand above. Otherwise the name localhost must lead to this machine "
        "(getent hosts localhost) and no proxy or firewall may stand between: unset http_proxy for it. " + AGAIN,
        raised=(
            "RendezvousConnectionError: ",
            "RendezvousTimeoutError",
            "DistNetworkError: The client socket has (?:timed out|failed to connect)",
            r"DistStoreError: [^\n]*(?:waiting for clients|clients joined)",
        ),
        printed=(r"(?:\[c10d\] )?The client socket has timed out after",),
        rank=SYMPTOM,
    ),
    Cause(
        "NCCL found no network",
        "NCCL found no interface that its processes can use among themselves",
        "ip -brief address lists them; name one that is up in NCCL_SOCKET_IFNAME. " + AGAIN,
        raised=(r"DistBackendError: (?:[^\n]*\n)+?(?:[^\n]*: )?Bootstrap : no socket interface found",),
    ),
    Cause(
        "GPUs waited too long",
        "a process did not arrive at an exchange in time (NCCL time-out)",
        "It hung or was slow: the last lines of each process, dmesg (Xid) and nvidia-smi show which. "
        + AGAIN
        + " If it happens "
        "at the same GPU again, use another machine.",
        raised=(
            r"DistBackendError: (?:[^\n]*\n)*?[^\n]*(?:collective operation timeout|Watchdog caught)",
            r"RuntimeError: (?:[^\n]*)(?:collective operation timeout|Timed out waiting \d+ms for)",
        ),
        printed=(
            r"(?:\[[^\n\]]*\] )*Watchdog caught collective operation timeout",
            r"(?:\[[^\n\]]*\] )*ProcessGroupNCCL's watchdog got stuck",
        ),
        rank=SYMPTOM,
    ),
    Cause(
        "another process is lost",
        LOST,
        LOOK,
        raised=(
            (
                r"DistBackendError: (?:[^\n]*\n)*?(?:[^\n]*: )?[^\n]*(?:Connection closed by remote peer|"
                "remote process exited|Connection reset by peer|Socket Timeout|Broken pipe|Connection refused)"
            ),
            r"RuntimeError: (?:\[\d+\] is setting up NCCL communicator|\[[^\n\]]*gloo[^\n\]]*\] )",
            "DistNetworkError: ",
            "DistStoreError: ",
            (
                r"RuntimeError: (?:DataLoader worker \(pid\(s\) [\d, ]+\) exited unexpectedly|Broken pipe|"
                "Connection reset by peer|Socket Timeout|Pin memory thread exited)"
            ),
            "MailboxClosedError",
        ),
        rank=SYMPTOM,
    ),
    Cause(
        "another process is lost",
        LOST,
        LOOK,
        raised=("(?:BrokenPipeError|ConnectionResetError|EOFError)(?:: |$)",),
        outside=r"/(?:ssl|urllib|urllib3|requests|wandb|_inductor|triton)\b",  # a server, a helper, a cache
        rank=SYMPTOM,
    ),
    Cause(
        "NCCL",
        "the GPUs could not exchange data; often another process failed first, and its lines stand above",
        "Look at the first error in the log, at nvidia-smi, and at df -h /dev/shm. "
        + AGAIN
        + " With NCCL_DEBUG=INFO NCCL says "
        "more, and the setting is recorded.",
        raised=(
            (
                r"DistBackendError: [^\n]*(?:NCCL error|NCCL communicator was aborted|unhandled (?:system|"
                "cuda) error|ProcessGroupNCCL)"
            ),
            "RuntimeError: NCCL (?:error|communicator was aborted)",
            r"nccl\w+Error: ",
        ),
        rank=SYMPTOM,
    ),
    Cause(
        "program not found",
        "the training environment has no torchrun or Python where it should be",
        REBUILD,
        printed=(
            (
                r"(?:\S+: )?(?:line \d+: )?(?:[\w./-]*/)?(?:torchrun|python[\d.]*): (?:command not found|"
                "No such file or directory|Permission denied|cannot execute)"
            ),
            r"env: [‘'](?:torchrun|python[\d.]*)[’']: No such file",
            r"\S+: (?:[\w./-]*/)?torchrun: [\w./-]+: bad interpreter",
        ),
    ),
)
