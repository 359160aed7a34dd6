"""Why a training fails, and the legitimate next move: one table, for the diagnosis and for docs/troubleshooting.md.

A move is legitimate when the run stays the recipe's: more of the machine, a repaired environment, the same command again.
Never a changed flag. Fewer GPUs are no remedy for lack of memory: the batch is split by their number.

``ALARMS`` are lines of upstream after which it goes on as if nothing had happened, or crashes hours later: they end a run at
once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ROOT, ENDED, SYMPTOM = 0, 1, 2


@dataclass(frozen=True)
class Cause:
    """A kind of failure.

    Attributes:
        name: how it is called.
        means: what it means, a clause that follows the name.
        remedy: what to do, sentences that hold.
        raised: how ``type: message`` of an exception begins (without the type's module).
        printed: how a line begins that no exception is behind, of a process that ended.
        signals: the signals that a process was ended by.
        beside: what must stand in some line of the output as well, from its beginning.
        frames: what the traceback must name.
        rank: ROOT; ENDED: the system or somebody ended a process, and why may stand elsewhere; SYMPTOM: of what happened to
            another process. A root cause of any process comes before the others.
    """

    name: str
    means: str
    remedy: str
    raised: str = ""
    printed: str = ""
    signals: tuple[int, ...] = ()
    beside: str = ""
    frames: str = ""
    rank: int = ROOT


@dataclass(frozen=True)
class Alarm:
    """A line that ends a run: its name and pattern, what it means, and what to do."""

    name: str
    pattern: re.Pattern[str]
    means: str
    remedy: str


def cuda(*words: str) -> str:
    """How an exception begins in which CUDA, its driver, triton or NCCL reports one of these errors."""
    said = "|".join(words)
    return (
        rf"\w+: (?:CUDA (?:driver )?error: |Triton Error \[CUDA\]: |cuda runtime error \(\d+\) : |CUDA call failed [^\n]*?: )(?:{said})"
        rf"|RuntimeError: (?:Unexpected error from cudaGetDeviceCount|CUDA initialization)[^\n]*Error \d+: (?:{said})"
        rf"|DistBackendError: [^\n]*unhandled cuda error(?:[^\n]*\n)+?(?:[^\n]*: )?Cuda failure(?: \d+)? '(?:{said})"
        rf"|DistBackendError: [^\n]*watchdog thread terminated with exception: CUDA error: (?:{said})"
    )


AGAIN = "Then run the same command again: make all."
REBUILD = "Build the environment again: make step-3 FORCE=1, then make all."
DATASET = "Build the dataset again: make step-4 FORCE=1, then make all."
ELSEWHERE = "Run the same command on another machine, or on this one once the fault is mended: make all."
FULL = r"(?:OSError|IOError): \[Errno 28\]"
COMPILER = r"CalledProcessError: Command '\[?'?[\w./+-]*\b(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+|x86_64-linux-gnu-gcc)(?:-\d+)?[' ]"

CAUSES = (
    Cause(
        "out of GPU memory",
        "a GPU has too little memory for its share of the batch",
        "End other programs on the GPUs (nvidia-smi lists them), or use more GPUs, or larger ones; then run the same command "
        "again: make all. The batch is split among them, so fewer GPUs need more memory each; flags are never changed.",
        raised=r"OutOfMemoryError: (?:CUDA|HIP|Allocation on device|$)|\w+: CUDA out of memory|\w+: CUDA error: CUBLAS_STATUS_ALLOC_FAILED|"
        + cuda("out of memory"),
    ),
    Cause(
        "fabric manager",
        "the service that connects the GPUs by NVSwitch (error 802) does not run",
        "Start it as root: systemctl start nvidia-fabricmanager, of exactly the driver's version; in a container or on a rented "
        "machine, ask its provider. " + AGAIN,
        raised=cuda("system not yet initialized", "CUDA_ERROR_SYSTEM_NOT_READY"),
    ),
    Cause(
        "driver and library",
        "the loaded driver and its library on disk are of different versions",
        "Restart the machine, or its driver (a container: start it again with the host's own libraries, without a cuda-compat "
        "folder in LD_LIBRARY_PATH). Once nvidia-smi answers, run the same command again: make all.",
        raised=cuda("system has unsupported display driver", "forward compatibility was attempted", "API call is not supported in the installed")
        + r"|(?:NVMLError_LibRmVersionMismatch|NVMLError|RuntimeError): (?:Failed to initialize NVML: )?Driver/library version mismatch"
        r"|DistBackendError: (?:[^\n]*\n)+?[^\n]*Driver/library version mismatch",
        printed=r"Failed to initialize NVML: Driver/library version mismatch",
    ),
    Cause(
        "driver too old",
        "the driver is older than the environment's CUDA needs",
        "Install a newer driver, or let make step-3 FORCE=1 choose the lock that fits the present one (make step-1 says which); "
        "then run make all.",
        raised=r"RuntimeError: The NVIDIA driver on your system is too old|"
        + cuda("CUDA driver version is insufficient", "the provided PTX was compiled with an unsupported toolchain"),
    ),
    Cause(
        "kernel refused by the driver",
        "the driver cannot load a compiled kernel: it is older than the compiler, or a cached kernel is damaged",
        "Remove the caches: rm -rf ~/.triton/cache /tmp/torchinductor_$USER. Then run the same command again: make all. If it comes "
        "again, install a newer driver.",
        raised=cuda("device kernel image is invalid"),
    ),
    Cause(
        "no GPU",
        "no process sees an NVIDIA GPU",
        "make step-1 says what is seen. In a container, start it with --gpus all; in a job, ask for GPUs; unset an empty "
        "CUDA_VISIBLE_DEVICES. " + AGAIN,
        raised=r"RuntimeError: (?:No CUDA GPUs are available|Found no NVIDIA driver|0 active drivers|Cannot access accelerator device when none)|"
        r"\w+: ProcessGroupNCCL is only supported with GPUs|" + cuda("no CUDA-capable device is detected"),
    ),
    Cause(
        "too few GPUs",
        "a process was given a GPU that it cannot see: more processes than visible GPUs",
        "Compare CUDA_VISIBLE_DEVICES and nvidia-smi -L with the number of processes: make plan prints the command. Set "
        "MAX_GPUS_TO_USE to a number of GPUs that are there, and run make all.",
        raised=cuda("invalid device ordinal")
        + r"|DistBackendError: [^\n]*invalid usage(?:[^\n]*\n)+?(?:[^\n]*: )?Duplicate GPU detected",
    ),
    Cause(
        "GPU in use",
        "a GPU admits no further process",
        "Another program has it, or it is in exclusive mode, or MIG is on without a slice: nvidia-smi shows each. End that "
        "program, or have the mode changed. " + AGAIN,
        raised=cuda(r"CUDA-capable device\(s\) is/are busy", "all CUDA-capable devices are busy", "exclusive-thread device already in use"),
    ),
    Cause(
        "CUDA fails",
        "the driver failed and did not say why",
        "See whether nvidia-smi works and /dev/nvidia-uvm exists; restart the machine after a driver update or a suspend, and a "
        "container after its host's. " + AGAIN,
        raised=r"RuntimeError: CUDA unknown error - this may be due|" + cuda("unknown error"),
    ),
    Cause(
        "GPU without a kernel",
        "torch or adam-atan2 was not built for this kind of GPU",
        "make step-1 says which GPUs the locks know. Build the environment again on this machine, which takes the lock that "
        "fits its GPUs: make step-3 FORCE=1, then make all.",
        raised=cuda("no kernel image is available") + r"|RuntimeError: nvrtc: error: invalid value for --gpu-architecture|GPUTooOldForTriton: |RuntimeError: Found [^\n]* which is too old to be supported by the triton",
    ),
    Cause(
        "GPU hardware",
        "a GPU or its link is failing",
        "Note what nvidia-smi -q and dmesg say of it and have that GPU reset or replaced. " + ELSEWHERE,
        raised=cuda(
            "uncorrectable ECC error", "uncorrectable NVLink error", "Invalid access of peer GPU memory over nvlink", "hardware stack error",
            "unable to determine the device handle", "GPU is lost", "device is lost",
        )
        + r"|(?:NVMLError_GpuIsLost|NVMLError): GPU is lost|\w+: Unable to determine the device handle for GPU",
        printed=r"Unable to determine the device handle for GPU|NVRM: (?:Xid \([^)]*\): (?:48|62|64|74|79|92|94|95|119|120|140|143)\b|GPU [^ ]+ has fallen off the bus)",
    ),
    Cause(
        "index out of range on the GPU",
        "a kernel met an index that its table does not have: the data do not belong to the model",
        "The dataset in the folder is not the recipe's, or damaged. " + DATASET,
        raised=cuda("device-side assert triggered"),
    ),
    Cause(
        "kernel fault",
        "a kernel on a GPU read or wrote where it must not; the line of the traceback is not where that happened",
        "Run the same command once more: make all. If it fails on the same GPU again (dmesg names it in an Xid line), the GPU "
        "is suspect: use another machine. If it fails on every GPU, build the environment again first: make step-3 FORCE=1.",
        raised=cuda("an illegal memory access", "unspecified launch failure", "misaligned address", "an illegal instruction was encountered",
                    "invalid program counter", "operation not supported on global/shared address space"),
    ),
    Cause(
        "kernel cut off by the display",
        "the driver ends long kernels on a GPU that also drives a screen",
        "Use a GPU without a display, or stop the graphical session on this machine. " + AGAIN,
        raised=cuda("the launch timed out and was terminated"),
    ),
    Cause(
        "kernel too large for the GPU",
        "a compiled kernel needs more on-chip memory than a multiprocessor of this GPU has",
        "That depends on the kind of GPU; its driver and memory are fine, and so is the compiler. Run on GPUs of the kind that "
        "the recipe was made for (make plan names them; A100 and H100 have 160 KB and more): make all.",
        raised=r"OutOfResources: out of resource: |\w+: out of resource: (?:shared memory|registers|tensor memory), Required: ",
    ),
    Cause(
        "assembler too old for the GPU",
        "triton's ptxas does not know this GPU",
        "Take the newer lock: CUDA_LOCK=cu130 make step-3 FORCE=1, then make all. If it is installed already, give triton the "
        "assembler of a newer CUDA: TRITON_PTXAS_PATH=/usr/local/cuda/bin/ptxas make all.",
        raised=r"(?:PTXASError|RuntimeError|NoTritonConfigsError|\w+Error): (?:[^\n]*\n)*?(?:[^\n]*\b)?ptxas\b[^\n]*fatal\s*: (?:Value '\w+' is not defined"
        r"|Unsupported \.(?:target|version))",
        printed=r"ptxas (?:[\w./-]+[:,] (?:line \d+; )?)?fatal\s*: (?:Value '\w+' is not defined for option|Unsupported \.(?:target|version))",
    ),
    Cause(
        "no compiler",
        "torch.compile needs a C and a C++ compiler, and there is none",
        "Install them (Debian: apt-get install gcc g++), or name them in CC and CXX. " + AGAIN,
        raised=r"\w+: Failed to find C compiler|InvalidCxxCompiler: |RuntimeError: No working C\+\+ compiler found"
        r"|FileNotFoundError: \[Errno 2\] No such file or directory: '(?:[\w/.-]*/)?(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+)'",
    ),
    Cause(
        "disk full while compiling",
        "the compiler could not write its temporary files",
        "Free the disk that holds /tmp (df -h /tmp), or point TMPDIR at one with room. " + AGAIN,
        raised=r"(?:CppCompileError|CUDACompileError): (?:[^\n]*\n)*?[^\n]*No space left on device",
    ),
    Cause(
        "disk full while compiling",
        "the compiler could not write its temporary files",
        "Free the disk that holds /tmp (df -h /tmp), or point TMPDIR at one with room. " + AGAIN,
        raised=COMPILER,
        beside=r"(?:\S+: )*(?:fatal error|Fatal error|error|final link failed|can't \w+)\b[^\n]*No space left on device",
    ),
    Cause(
        "out of memory",
        "the compiler was killed for lack of the machine's memory",
        "Give the machine or the container more memory, and let nothing else run beside the training. " + AGAIN,
        raised=COMPILER,
        beside=r"(?:\S+: )*fatal error: Killed signal terminated program",
    ),
    Cause(
        "out of memory",
        "the compiler was killed for lack of the machine's memory",
        "Give the machine or the container more memory, and let nothing else run beside the training. " + AGAIN,
        raised=r"(?:CppCompileError|CUDACompileError): (?:[^\n]*\n)*?[^\n]*Killed signal terminated program",
    ),
    Cause(
        "Python headers",
        "torch.compile compiles against Python.h, which is not installed",
        "Install the headers of the environment's Python (Debian: apt-get install python3.10-dev). " + AGAIN,
        raised=COMPILER + r"|(?:CppCompileError|CUDACompileError): (?:[^\n]*\n)*?[^\n]*Python\.h: No such file",
        beside=r"(?:.*fatal error: )?Python\.h: No such file",
    ),
    Cause(
        "libcuda not found",
        "the compiler finds no libcuda.so to link against",
        "ldconfig -p | grep libcuda shows where the driver's library is; name that folder in TRITON_LIBCUDA_PATH, or in a "
        "container pass the driver through (--gpus all). " + AGAIN,
        raised=r"AssertionError: libcuda\.so cannot found",
    ),
    Cause(
        "libcuda not found",
        "the compiler finds no libcuda.so to link against",
        "ldconfig -p | grep libcuda shows where the driver's library is; name that folder in TRITON_LIBCUDA_PATH, or in a "
        "container pass the driver through (--gpus all). " + AGAIN,
        raised=COMPILER,
        beside=r"\S*ld(?:\.\w+)?: cannot find -lcuda\b",
    ),
    Cause(
        "compiler failed",
        "the C or C++ compiler that torch.compile calls ended with an error",
        "Its own words stand in the log, above the traceback or at its end. Once they are mended, or with another compiler "
        "(CC=…, CXX=…), run the same command again: make all.",
        raised=COMPILER + r"|(?:CppCompileError|CUDACompileError): C\+\+ compile error",
    ),
    Cause(
        "missing extension",
        "the optimiser's CUDA part is not installed, or was built for another torch",
        REBUILD,
        raised=r"ModuleNotFoundError: No module named 'adam_atan2(?:_backend)?'|(?:ImportError|OSError): [^\n]*adam_atan2_backend",
    ),
    Cause(
        "driver's library missing",
        "libcuda.so.1 belongs to the driver, and is not there",
        "Install the NVIDIA driver; in a container, start it with --gpus all (NVIDIA's container toolkit). " + AGAIN,
        raised=r"(?:ImportError|OSError): libcuda\.so\.1: cannot open shared object file",
    ),
    Cause(
        "system too old",
        "the system's C or C++ library is older than the installed packages need",
        "Use a newer system, or a container of one (machines/Dockerfile), and build the environment there: make step-3 FORCE=1, "
        "then make all.",
        raised=r"(?:ImportError|OSError): [^\n]*version `(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+' not found",
        printed=r"\S+: \S+: version `(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+' not found",
    ),
    Cause(
        "folder without execution",
        "a compiled file lies in a folder that is mounted noexec",
        "Point TRITON_CACHE_DIR, TORCHINDUCTOR_CACHE_DIR and TMPDIR at a folder on a disk without noexec (findmnt -T FOLDER "
        "shows it). " + AGAIN,
        raised=r"(?:ImportError|OSError): [^\n]*failed to map segment from shared object",
    ),
    Cause(
        "environment broken",
        "a module of the training environment is missing, or does not fit the others",
        REBUILD,
        raised=r"ImportError: [^\n]*undefined symbol: |OSError: [^\n]*\.so[^\n]*: undefined symbol: |ImportError: cannot import name |TritonMissing: "
        r"|(?:ImportError|OSError): lib[\w.+-]+\.so[\d.]*: cannot open shared object file|AssertionError: Torch not compiled with CUDA enabled"
        r"|RuntimeError: (?:Cannot find a working triton installation|Distributed package doesn't have NCCL built in)",
        printed=r"\S+: error while loading shared libraries: ",
    ),
    Cause(
        "upstream's files",
        "a module of upstream's own was not found: its checkout is incomplete",
        "Check it out again: make step-2 FORCE=1, then make all.",
        raised=r"ModuleNotFoundError: No module named '(?:models|puzzle_dataset|evaluators|utils|dataset)(?:\.[\w.]+)?'|MissingConfigException: "
        r"(?:Primary config directory not found|Cannot find primary config)",
        printed=r"Primary config directory not found|Cannot find primary config |\S*python[\d.]*: can't open file '[^']*': \[Errno 2\]",
    ),
    Cause(
        "missing module",
        "the training environment lacks a module",
        REBUILD,
        raised=r"ModuleNotFoundError: No module named '[\w.]+'",
    ),
    Cause(
        "/dev/shm too small",
        "the processes exchange data through /dev/shm, and it is full",
        "Give it at least 1 GB a GPU: docker run --shm-size=16g, or --ipc=host; mount -o remount,size=16G /dev/shm. " + AGAIN,
        raised=r"RuntimeError: DataLoader worker \(pid [^)]*\) is killed by signal: Bus error|RuntimeError: unable to (?:open|allocate|mmap|resize|write to) "
        r"[^\n]*</torch_[^\n]*No space left on device|RuntimeError: unable to (?:allocate shared memory|write to file </torch_)[^\n]*"
        rf"(?:No space|\(28\))|{FULL}[^\n]*'/dev/shm/"
        r"|DistBackendError: (?:[^\n]*\n)+?(?:[^\n]*: )?Error(?: while creating shared memory segment|: failed to extend) /dev/shm/\S+ (?:\(size \d+\)|to \d+ bytes)"
        r"(?!, error: (?!No space))",
        printed=r"(?:\S+:\d+:\d+ \[\d+\] )?[\w/.]+:\d+ NCCL WARN (?:Error: failed to extend /dev/shm/[^\n]*No space|Call to posix_fallocate failed ?: No space)"
        r"|ERROR: Unexpected bus error encountered in worker\. This might be caused by insufficient shared memory",
    ),
    Cause(
        "bus error",
        "a mapped file had nothing behind it: /dev/shm is full, or the dataset's file system failed",
        "df -h /dev/shm shows the first (docker run --shm-size=16g, or --ipc=host); for the second, check the file system that "
        "holds the dataset. " + AGAIN,
        signals=(7,),
        printed=r"(?:.*: line \d+: +\d+ )?Bus error(?: +\(core dumped\)|$)|Fatal Python error: Bus error",
        rank=ENDED,
    ),
    Cause(
        "disk quota",
        "your quota on that file system is used up",
        "quota -s shows it. Free some (attempts set aside can go: make clean lists them), or have it raised. " + AGAIN,
        raised=r"(?:OSError|IOError): \[Errno 122\]",
    ),
    Cause(
        "disk full",
        "nothing more could be written; a checkpoint of that moment is cut off",
        "make status and make plan say how much is needed: free disk of that size (attempts set aside can go). " + AGAIN,
        raised=rf"{FULL}|SafetensorError: [^\n]*(?:code: 28\b|StorageFull)",
    ),
    Cause(
        "checkpoint not written",
        "the file system refused part of a checkpoint",
        "It is full, over quota, or failing: df -h, quota -s and dmesg say which. " + AGAIN,
        raised=r"RuntimeError: (?:\[enforce fail at inline_container\.cc[^\n]*\] \. )?(?:PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+|basic_ios::clear: iostream error)",
    ),
    Cause(
        "read-only file system",
        "a folder that must be written is mounted read-only",
        "A disk becomes read-only when it fails (dmesg), or was mounted so. Mount it writable, or set TRM_DIR to a folder that "
        "is. " + AGAIN,
        raised=r"(?:OSError|PermissionError): \[Errno 30\]",
    ),
    Cause(
        "file system failed",
        "a disk or a network file system did not answer",
        "dmesg and the mount's server say why. Put the run on a local disk, or run it again once the file system works: make all.",
        raised=r"(?:OSError|ConnectionError|TimeoutError): \[Errno (?:5|116|121)\]|OSError: \[Errno 107\] Transport endpoint is not connected: ",
    ),
    Cause(
        "cache of compiled kernels",
        "a folder for compiled kernels belongs to another user, or cannot be shared as it is",
        "Point both at folders of your own on a local disk: TRITON_CACHE_DIR=$HOME/trm-triton "
        "TORCHINDUCTOR_CACHE_DIR=$HOME/trm-inductor make all.",
        raised=r"(?:PermissionError|FileNotFoundError|FileExistsError|OSError|NotADirectoryError|IsADirectoryError): \[Errno \d+\] [^\n]*"
        r"(?:/\.triton\b|/triton/|/torchinductor_|/\.cache['/]|/torch_extensions)",
    ),
    Cause(
        "no permission",
        "a file or folder may not be read or written by this user",
        "Give it to the user who runs the training (ls -l shows its owner), or start the run as its owner. " + AGAIN,
        raised=r"PermissionError: \[Errno (?:1|13)\] [^\n]*: '",
    ),
    Cause(
        "too many open files",
        "the limit of open files is too low",
        "Raise it in the shell that starts the run (ulimit -n 65536), and run the same command there: make all.",
        raised=r"OSError: \[Errno (?:23|24)\]|RuntimeError: (?:Too many open files|received \d+ items of ancdata)|RuntimeError: unable to open shared memory object "
        r"</torch_[^\n]*Too many open files",
    ),
    Cause(
        "too many processes",
        "the system admits no further process or thread",
        "Raise the limit (ulimit -u, or the container's --pids-limit), or end what else runs as this user. " + AGAIN,
        raised=r"(?:BlockingIOError|OSError): \[Errno 11\] Resource temporarily unavailable$|RuntimeError: can't start new thread",
        printed=r"libgomp: Thread creation failed: Resource temporarily unavailable|\S*bash: fork: (?:retry: )?Resource temporarily unavailable"
        r"|OMP: Error #34: System unable to allocate",
    ),
    Cause(
        "out of memory",
        "the machine, or the limit of the job or container, had no memory left",
        "Give the machine, the job or the container more memory (make step-1 says how much is needed), and let nothing else "
        "run beside the training. " + AGAIN,
        raised=r"MemoryError\b|_ArrayMemoryError: |OSError: \[Errno 12\]|RuntimeError: (?:\[enforce fail at [^\n]*\] [^\n]*)?DefaultCPUAllocator: (?:can't allocate|not enough) memory"
        r"|(?:RuntimeError|bad_alloc): std::bad_alloc|RuntimeError: unable to mmap \d+ bytes from file <[^\n]*: Cannot allocate memory|RuntimeError: \[enforce fail at alloc_cpu",
        printed=r"slurmstepd: error: (?:Detected \d+ oom[_-]kill event|Exceeded (?:job|step) memory limit|Job \d+ exceeded memory limit)|srun: error: \S+: tasks? [\d,-]+: Out Of Memory"
        r"|Some of (?:your processes may have been killed by|the step tasks have been OOM)|(?:Memory cgroup out|Out) of memory: Killed process \d+"
        r"|(?:Reason: +)?OOMKilled$|TERM_MEMLIMIT: |=>> PBS: job killed: mem ",
    ),
    Cause(
        "time limit",
        "the scheduler ended the job because its time was over",
        "make plan says how many hours the run takes. Ask for that many, and run the same command again: make all. A training "
        "that was ended starts from the beginning.",
        printed=r"slurmstepd: error: \*\*\* (?:JOB|STEP) .*DUE TO TIME LIMIT|=>> PBS: job killed: walltime|TERM_RUNLIMIT: |srun: error: .*DUE TO TIME LIMIT",
    ),
    Cause(
        "pre-empted",
        "the scheduler took the machine for another job",
        "Submit the job again, to a partition or kind of machine that is not pre-empted if there is one: make all. A training "
        "that was ended starts from the beginning.",
        printed=r"slurmstepd: error: \*\*\* (?:JOB|STEP) .*DUE TO (?:PREEMPTION|JOB REQUEUE)|TERM_PREEMPT: |=>> PBS: job killed: preempt",
    ),
    Cause(
        "machine lost",
        "the scheduler lost a machine of the job",
        "Submit the job again, without that machine: make all. A training that was ended starts from the beginning.",
        printed=r"slurmstepd: error: \*\*\* (?:JOB|STEP) .*DUE TO NODE FAILURE|srun: error: Node failure on",
    ),
    Cause(
        "cancelled",
        "somebody, or the scheduler, cancelled the job",
        "sacct -j JOB --format=State,Reason%40 tells who and why. Submit it again: make all.",
        printed=r"slurmstepd: error: \*\*\* (?:JOB|STEP) .*CANCELLED AT (?!.*DUE TO)|TERM_OWNER: |TERM_ADMIN: ",
        rank=ENDED,
    ),
    Cause(
        "interrupted",
        "it was stopped from the keyboard (Ctrl-C)",
        "Run the same command again: make all. It starts from the beginning.",
        raised=r"KeyboardInterrupt\b|SignalException: Process \d+ got signal: 2\b",
        signals=(2,),
    ),
    Cause(
        "hang-up",
        "its terminal was closed",
        "Start it where it outlives the terminal, in tmux or with nohup: nohup make all &",
        raised=r"SignalException: Process \d+ got signal: 1\b",
        signals=(1,),
        rank=ENDED,
    ),
    Cause(
        "terminated",
        "somebody, a scheduler or a shutdown asked it to end (SIGTERM)",
        "The scheduler's or the machine's own log says who. Run the same command again: make all. It starts from the beginning.",
        raised=r"SignalException: Process \d+ got signal: (?:15|Signals\.SIGTERM)",
        printed=r"(?:.*: line \d+: +\d+ )?Terminated(?: |$)",
        signals=(15,),
        rank=SYMPTOM,
    ),
    Cause(
        "killed",
        "the system ended a process (SIGKILL), most likely for lack of memory; dmesg, or the container's limit, says so",
        "If it was memory, give the machine or the container more memory, and let nothing else run beside the training. " + AGAIN,
        raised=r"RuntimeError: DataLoader worker \(pid [^)]*\) is killed by signal: Killed|ProcessExitedException: process \d+ terminated with signal SIGKILL",
        printed=r"(?:.*: line \d+: +\d+ )?Killed(?: {2,}|$)|srun: error: \S+: tasks? [\d,-]+: Killed|command terminated with exit code 137",
        signals=(9,),
        rank=ENDED,
    ),
    Cause(
        "crash in compiled code",
        "a process crashed inside a library",
        "Build the environment again (make step-3 FORCE=1, then make all). If it crashes again on this machine and not on "
        "another, its memory or a GPU is faulty.",
        raised=r"RuntimeError: DataLoader worker \(pid [^)]*\) is killed by signal: Segmentation fault|ProcessExitedException: process \d+ terminated with signal SIGSEGV",
        printed=r"Fatal Python error: Segmentation fault|(?:.*: line \d+: +\d+ )?Segmentation fault(?: +\(core dumped\)|$|  )"
        r"|(?:\[[^\]]*\] )?Caught signal 11 \(Segmentation fault|srun: error: \S+: tasks? [\d,-]+: Segmentation fault"
        r"|double free or corruption|free\(\): invalid|malloc\(\): |munmap_chunk\(\): |corrupted (?:size|double-linked)",
        signals=(11,),
        rank=ENDED,
    ),
    Cause(
        "processor too old",
        "a library uses instructions that this processor does not have",
        "Run the same command on a newer processor (x86-64 with AVX2): make all.",
        raised=r"RuntimeError: DataLoader worker \(pid [^)]*\) is killed by signal: Illegal instruction",
        printed=r"Fatal Python error: Illegal instruction|(?:.*: line \d+: +\d+ )?Illegal instruction(?: +\(core dumped\)|$)",
        signals=(4,),
        rank=ENDED,
    ),
    Cause(
        "Weights & Biases: no room",
        "the account's storage there is used up",
        "Free some there, or unset WANDB_API_KEY: metrics then stay on this machine. " + AGAIN,
        raised=r"(?:CommError|UsageError|HTTPError): [^\n]*(?:storage (?:limit|quota)|exceeded [^\n]*(?:storage|quota)|quota (?:has been )?exceeded)",
        beside=r"(?i).*(?:wandb|W&B|weights & biases)",
    ),
    Cause(
        "Weights & Biases refuses",
        "the key is missing or wrong, or has no right to that project",
        "Unset WANDB_API_KEY (metrics then stay on this machine), or put a valid one in place: make step-1 CHECK_REMOTE=1 tries "
        "it; unset WANDB_ENTITY and WANDB_PROJECT if they name somebody else's. " + AGAIN,
        raised=r"UsageError: (?:No API key configured|api_key not configured|[^\n]*API key)|AuthenticationError: |\w+: API key must (?:be|have|contain)"
        r"|CommError: (?:It appears that you do not have permission|permission denied|[^\n]*(?:\b40[134]\b|[Uu]nauthori[sz]ed|not logged in|entity \S+ not found|returned error 4))",
    ),
    Cause(
        "Weights & Biases not reached",
        "its server, or its helper process on this machine, did not answer in time",
        "Unset WANDB_API_KEY: metrics then stay on this machine, and nothing waits for a network. Or mend the network or proxy: "
        "make step-1 CHECK_REMOTE=1 tries it. " + AGAIN,
        raised=r"UsageError: Error communicating with wandb process|CommError: (?:Run initialization has timed out|[^\n]*(?:timed out|[Tt]imeout|[Nn]etwork error|[Cc]onnection|Error communicating))"
        r"|(?:ServicePollForTokenError|ServiceStartTimeoutError|ServiceStartProcessError|WandbCoreNotAvailableError|WandbServiceNotOwnedError|WandbServiceConnectionError)\b"
        r"|(?:ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|MaxRetryError): [^\n]*api\.wandb\.ai",
    ),
    Cause(
        "port in use",
        "torchrun could not open its port: another program has it",
        "Let it end, or end the other training on this machine: ss -ltnp shows who has the port. " + AGAIN,
        raised=r"(?:DistNetworkError|RuntimeError|DistStoreError|OSError): [^\n]*(?:EADDRINUSE|[Aa]ddress already in use|\[Errno 98\])",
        printed=r"(?:\[c10d\] )?The server socket has failed to listen on any local network address\.[^\n]*EADDRINUSE",
    ),
    Cause(
        "configuration refused",
        "a word of the command is not one that the program knows",
        "Remove EXTRA_TRAIN_ARGS and EXTRA_BUILDER_ARGS; the recipe's own words are known to work at its pin. " + AGAIN,
        raised=r"(?:ConfigCompositionException|OverrideParseException|MissingConfigException|ConfigAttributeError|ConfigKeyError|MissingMandatoryValue|ConfigTypeError"
        r"|InterpolationKeyError|InterpolationResolutionError|LexerNoViableAltException)\b|ValidationError: \d+ validation errors? for \w*Config\b",
        printed=r"Could not override '|Could not append to config\. An item is already at '|Error merging override |Error parsing override '|Could not load '|"
        r"In '[\w/.]+': Could not (?:find|load) '|LexerNoViableAltException: |mismatched input '|no viable alternative at input '|missing EQUAL at '|token recognition error at: '|"
        r"extraneous input '|Missing mandatory value: |You must specify '[\w./]+', e\.g|\S+: error: (?:unrecognized arguments|argument |the following arguments are required)",
    ),
    Cause(
        "number of GPUs",
        "the batch cannot be split evenly among that many processes",
        "Set MAX_GPUS_TO_USE to a number that divides the recipe's batch (768: 1, 2, 3, 4, 6, 8), and run make all.",
        raised=r"AssertionError: [^\n]*[Bb]atch size \d+ must be (?:a )?multiples? of (?:nodes|world|GPUs|processes)",
    ),
    Cause(
        "no process group",
        "upstream's ARC evaluator works under torchrun only",
        "Start the training through this runbook, make all; it uses torchrun for one GPU too.",
        raised=r"(?:ValueError|RuntimeError): Default process group has not been initialized",
    ),
    Cause(
        "inference tensor",
        "this torch cannot go on after upstream's evaluation: a tensor made in it is changed outside (seen with torch 2.4 and 2.5)",
        "Train in the locked environment, whose torch can: unset ENV_LOCK, make step-3 FORCE=1, then make all.",
        raised=r"RuntimeError: (?:Inplace update to inference tensor outside InferenceMode|Inference tensors cannot be saved for backward)",
    ),
    Cause(
        "checkpoint of another model",
        "the weights to load do not have the tensors of this model",
        "They belong to another recipe or dataset. Unset RESUME and EXTRA_TRAIN_ARGS; if the recipe names the weights, fetch "
        "them again: make step-4 FORCE=1. Then run make all.",
        raised=r"RuntimeError: Error\(s\) in loading state_dict for ",
    ),
    Cause(
        "checkpoint unreadable",
        "a file of weights is cut off or is none",
        "Unset RESUME, or set the attempt with that file aside; if the recipe names the weights, fetch them again: make step-4 "
        "FORCE=1. Then run make all.",
        raised=r"RuntimeError: PytorchStreamReader failed|UnpicklingError: |EOFError: Ran out of input|SafetensorError: Error while deserializing header",
    ),
    Cause(
        "dataset missing",
        "a file of the dataset is not there",
        DATASET,
        raised=r"FileNotFoundError: \[Errno 2\] [^\n]*: '(?:data/[^'\n]+'|[^'\n]*/data/[^'/\n]+/(?:train|test)(?:/[^'\n]*)?'|(?:[^'\n]*/)?(?:dataset\.json|identifiers\.json|test_puzzles\.json|\w+__(?:inputs|labels|puzzle_identifiers|puzzle_indices|group_indices)\.npy)')",
    ),
    Cause(
        "dataset damaged",
        "a file of the dataset is empty or cut off",
        DATASET,
        raised=r"ValueError: (?:mmap length is greater than file size|cannot mmap an empty file|cannot reshape array of size)|EOFError: No data left in file|JSONDecodeError: ",
        frames=r"(?:puzzle_dataset|evaluators/|dataset/)[^\n]*",
    ),
    Cause(
        "loss is not a number",
        "the training diverged or computed wrongly, and the program stopped at it",
        "Nothing in the recipe may be changed. Build the environment again (make step-3 FORCE=1) and run the same command: make "
        "all. If it comes again at about the same step, a GPU computes wrongly, or the recipe does not hold: report it.",
        raised=r"(?:FloatingPointError|ValueError|RuntimeError|AssertionError|ArithmeticError): (?i:(?:the |train(?:ing)? )?loss (?:is|became|was|=|has become) ?(?:nan|inf|not finite|non-finite)"
        r"|(?:nan|non-finite|infinite) (?:value in |found in )?loss|function '\w+' returned nan values|NaN (?:detected|encountered) in loss)",
        printed=r"(?i:loss is (?:nan|inf)\b[^\n]*stopping)",
    ),
    Cause(
        "gathering the evaluation",
        "the processes wait for each other's predictions at an evaluation, and that took longer than allowed",
        "Their volume grows with the number of augmentations, which the recipe fixes; what helps is a faster machine: more "
        "memory, faster cores, nothing else running. " + AGAIN,
        raised=r"(?:DistBackendError|RuntimeError|DistStoreError|TimeoutError): (?i:[^\n]*(?:\n[^\n]*)*?(?:timed out|timeout|collective operation timeout))",
        frames=r"\b(?:all_)?gather_object\b",
        rank=SYMPTOM,
    ),
    Cause(
        "processes did not meet",
        "the processes of the run did not find each other at its start",
        "If another failed before, its words stand above. Otherwise the name localhost must lead to this machine (getent hosts "
        "localhost) and no proxy or firewall may stand between: unset http_proxy for it. " + AGAIN,
        raised=r"RendezvousConnectionError: |RendezvousTimeoutError|DistNetworkError: The client socket has (?:timed out|failed to connect)|DistStoreError: [^\n]*(?:waiting for clients|clients joined)",
        printed=r"(?:\[c10d\] )?The client socket has timed out after",
        rank=SYMPTOM,
    ),
    Cause(
        "NCCL found no network",
        "NCCL found no interface that its processes can use among themselves",
        "ip -brief address lists them; name one that is up in NCCL_SOCKET_IFNAME. " + AGAIN,
        raised=r"DistBackendError: (?:[^\n]*\n)+?(?:[^\n]*: )?Bootstrap : no socket interface found",
    ),
    Cause(
        "GPUs waited too long",
        "a process did not arrive at an exchange in time (NCCL time-out)",
        "It hung or was slow: the last lines of each process, dmesg (Xid) and nvidia-smi show which. " + AGAIN + " If it happens "
        "at the same GPU again, use another machine.",
        raised=r"DistBackendError: (?:[^\n]*\n)*?[^\n]*(?:collective operation timeout|Watchdog caught)|RuntimeError: (?:[^\n]*)(?:collective operation timeout|Timed out waiting \d+ms for)",
        printed=r"(?:\[[^\n\]]*\] )*Watchdog caught collective operation timeout|(?:\[[^\n\]]*\] )*ProcessGroupNCCL's watchdog got stuck",
        rank=SYMPTOM,
    ),
    Cause(
        "another process is lost",
        "a process lost its connection to another one; that one failed first and left no cause in these lines",
        "Look at the first error in the log, and at nvidia-smi and dmesg for a GPU or process that is gone. " + AGAIN,
        raised=r"DistBackendError: (?:[^\n]*\n)*?(?:[^\n]*: )?[^\n]*(?:Connection closed by remote peer|remote process exited|Connection reset by peer|Socket Timeout|Broken pipe|Connection refused)"
        r"|RuntimeError: (?:\[\d+\] is setting up NCCL communicator|\[[^\n\]]*gloo[^\n\]]*\] )|DistNetworkError: |DistStoreError: |(?:BrokenPipeError|ConnectionResetError|EOFError)(?:: |$)"
        r"|RuntimeError: (?:DataLoader worker \(pid\(s\) [\d, ]+\) exited unexpectedly|Broken pipe|Connection reset by peer|Socket Timeout|Pin memory thread exited)|MailboxClosedError",
        rank=SYMPTOM,
    ),
    Cause(
        "NCCL",
        "the GPUs could not exchange data; often another process failed first, and its lines stand above",
        "Look at the first error in the log, at nvidia-smi, and at df -h /dev/shm. " + AGAIN + " With NCCL_DEBUG=INFO NCCL says "
        "more, and the setting is recorded.",
        raised=r"DistBackendError: [^\n]*(?:NCCL error|NCCL communicator was aborted|unhandled (?:system|cuda) error|ProcessGroupNCCL)|RuntimeError: NCCL (?:error|communicator was aborted)|nccl\w+Error: ",
        rank=SYMPTOM,
    ),
    Cause(
        "program not found",
        "the training environment has no torchrun or Python where it should be",
        REBUILD,
        printed=r"(?:\S+: )?(?:line \d+: )?(?:[\w./-]*/)?(?:torchrun|python[\d.]*): (?:command not found|No such file or directory|Permission denied|cannot execute)|env: [‘'](?:torchrun|python[\d.]*)[’']: No such file"
        r"|\S+: (?:[\w./-]*/)?torchrun: [\w./-]+: bad interpreter",
    ),
)

ALARMS = (
    Alarm(
        "no test split",
        re.compile("NO EVAL DATA FOUND"),
        "upstream cannot read the dataset's test split; it would train for hours and crash at its first evaluation",
        DATASET,
    ),
    Alarm(
        "no evaluator",
        re.compile("No evaluator found"),
        "upstream goes on without its evaluator: no pass@K, no submission, and exit code 0",
        "test_puzzles.json or identifiers.json is missing or broken. " + DATASET,
    ),
    Alarm(
        "missing predictions",
        re.compile("has no predictions"),
        "a test input was never predicted: its entry is left out, and later ones of the task move to its place",
        "The test split does not belong to test_puzzles.json. " + DATASET,
    ),
    Alarm(
        "puzzle table reset",
        re.compile("Resetting puzzle embedding"),
        "the loaded checkpoint belongs to a dataset with other puzzles; its table was replaced by its mean",
        "Load a checkpoint of this dataset, or start from the beginning: unset RESUME and run make all.",
    ),
)


def as_markdown() -> str:
    """The table of docs/troubleshooting.md."""
    rows = {}
    for cause in (*CAUSES, *ALARMS):
        rows.setdefault(cause.name, f"| {cause.name} | {cause.means} | {cause.remedy} |".replace(" | grep", " \\| grep"))
    return "\n".join(("| named | what it means | next |", "|---|---|---|", *rows.values()))
