"""Failures of memory, disk and limits, and what ends processes: signals and schedulers."""

from __future__ import annotations

from trm_repro.training.causes.kinds import AGAIN, ENDED, FULL, SYMPTOM, Cause

SHM = (
    "/dev/shm too small",
    "the processes exchange data through /dev/shm, and it is full",
    "Give it at least 1 GB a GPU: docker run --shm-size=16g, or --ipc=host; mount -o remount,size=16G /dev/shm. "
    "" + AGAIN,
)
SYSTEM = (
    Cause(
        *SHM,
        raised=(
            r"RuntimeError: DataLoader worker \(pid [^)]*\) is killed by signal: Bus error",
            (
                "RuntimeError: unable to (?:open|allocate|mmap|resize|"
                r"write to) [^\n]*</torch_[^\n]*No space left on device"
            ),
            (
                r"RuntimeError: unable to (?:allocate shared memory|write to file </torch_)[^\n]*(?:No space|"
                r"\(28\))"
            ),
            FULL + r"[^\n]*'/dev/shm/",
            (
                r"DistBackendError: (?:[^\n]*\n)+?(?:[^\n]*: )?Error(?: while creating shared memory segment|"
                r": failed to extend) /dev/shm/\S+ (?:\(size \d+\)|to \d+ bytes)(?!, error: (?!No space))"
            ),
        ),
        printed=(
            (
                r"(?:\S+:\d+:\d+ \[\d+\] )?[\w/.]+:\d+ NCCL WARN (?:Error: failed to extend /dev/shm/[^\n]*No "
                "space|Call to posix_fallocate failed ?: No space)"
            ),
            (
                r"ERROR: Unexpected bus error encountered in worker\. This might be caused by insufficient shared "
                "memory"
            ),
        ),
    ),
    Cause(*SHM, raised=(FULL,), beside=r".*\bSemLock\b"),  # semaphores are files there
    Cause(
        "bus error",
        "a mapped file had nothing behind it: /dev/shm is full, or the dataset's file system failed",
        "df -h /dev/shm shows the first (docker run --shm-size=16g, or --ipc=host); for the second, check the file "
        "system that holds the dataset. " + AGAIN,
        signals=(7,),
        printed=(
            r"(?:.*: line \d+: +\d+ )?Bus error(?: +\(core dumped\)|$)",
            "Fatal Python error: Bus error",
        ),
        rank=ENDED,
    ),
    Cause(
        "disk quota",
        "your quota on that file system is used up",
        "quota -s shows it. Free some (folders named …set-aside-… can go), or have it raised. " + AGAIN,
        raised=(r"(?:OSError|IOError): \[Errno 122\]",),
    ),
    Cause(
        "disk full",
        "nothing more could be written; a checkpoint of that moment is cut off",
        "make status and make plan say how much is needed: free disk of that size (attempts set aside can go). "
        "" + AGAIN,
        raised=(
            FULL,
            r"SafetensorError: [^\n]*(?:code: 28\b|StorageFull)",
        ),
    ),
    Cause(
        "checkpoint not written",
        "the file system refused part of a checkpoint",
        "It is full, over quota, or failing: df -h, quota -s and dmesg say which. " + AGAIN,
        raised=(
            (
                r"RuntimeError: (?:\[enforce fail at inline_container\.cc[^\n]*\] \. )?(?:PytorchStreamWriter "
                r"failed writing|unexpected pos \d+ vs \d+|basic_ios::clear: iostream error)"
            ),
        ),
    ),
    Cause(
        "no home folder",
        "this user has none (HOME is /), and programs keep their caches in it",
        "Give it one that it can write in: HOME=FOLDER make all.",
        raised=(r"(?:PermissionError|OSError): \[Errno (?:13|30)\] [^\n]*: '/\.\w+[/']",),
    ),
    Cause(
        "cache of compiled kernels",
        "a folder for compiled kernels cannot be written, or not be shared as it is",
        "The training compiles into .repro/runs/RUN_NAME/caches: keep this repository on a local disk where the user "
        "who runs it may write. Folders elsewhere follow HOME and TMPDIR: point those at folders of your own. " + AGAIN,
        raised=(
            (
                "(?:PermissionError|FileNotFoundError|FileExistsError|OSError|NotADirectoryError|"
                r"IsADirectoryError): \[Errno \d+\] [^\n]*"
                r"(?:/\.triton\b|/torchinductor_|/torch_extensions|/\.repro/runs/[^/\n]+/caches/)"
            ),
            # compiled on another machine, or for another Python
            r"ImportError: [^\n]*\(required by [^\n ]*(?:/\.triton/|/torchinductor_)",
            r"ImportError: [^\n ]*(?:/\.triton/|/torchinductor_)[^\n]*: undefined symbol: ",
        ),
    ),
    Cause(
        "read-only file system",
        "a folder that must be written is mounted read-only",
        "A disk becomes read-only when it fails (dmesg), or was mounted so. Mount it writable, or set TRM_DIR to a "
        "folder that is. " + AGAIN,
        raised=(r"(?:OSError|PermissionError): \[Errno 30\]",),
    ),
    Cause(
        "file system failed",
        "a disk or a network file system did not answer",
        "dmesg and the mount's server say why. Put the run on a local disk, or run it again once the file system "
        "works: make all.",
        raised=(
            r"(?:OSError|ConnectionError|TimeoutError): \[Errno (?:5|116|121)\]",
            r"OSError: \[Errno 107\] Transport endpoint is not connected: ",
        ),
    ),
    Cause(
        "no permission",
        "a file or folder may not be read or written by this user",
        "Give it to the user who runs the training (ls -l shows its owner), or start the run as its owner. " + AGAIN,
        raised=(r"PermissionError: \[Errno (?:1|13)\] [^\n]*: '",),
    ),
    Cause(
        "too many open files",
        "the limit of open files is too low",
        "Raise it in the shell that starts the run (ulimit -n 65536), and run the same command there: make all.",
        raised=(
            r"OSError: \[Errno (?:23|24)\](?! inotify)",
            r"RuntimeError: (?:Too many open files|received \d+ items of ancdata)",
            r"RuntimeError: unable to open shared memory object </torch_[^\n]*Too many open files",
        ),
    ),
    Cause(
        "too many processes",
        "the system admits no further process or thread",
        "Raise the limit (ulimit -u, or the container's --pids-limit), or end what else runs as this user. " + AGAIN,
        raised=(
            r"(?:BlockingIOError|OSError): \[Errno 11\] Resource temporarily unavailable$",
            "RuntimeError: can't start new thread",
        ),
        printed=(
            "libgomp: Thread creation failed: Resource temporarily unavailable",
            r"\S*bash: fork: (?:retry: )?Resource temporarily unavailable",
            "OMP: Error #34: System unable to allocate",
        ),
        outside=r"\b(?:flock|lockf)\(",  # the same words for a lock that another has
    ),
    Cause(
        "out of memory",
        "the machine, or the limit of the job or container, had no memory left",
        "Give the machine, the job or the container more memory (make step-1 says how much is needed), and let "
        "nothing else run beside the training. " + AGAIN,
        raised=(
            r"MemoryError\b",
            "_ArrayMemoryError: ",
            r"OSError: \[Errno 12\]",
            (
                r"RuntimeError: (?:\[enforce fail at [^\n]*\] [^\n]*)?DefaultCPUAllocator: (?:can't allocate|"
                "not enough) memory"
            ),
            "(?:RuntimeError|bad_alloc): std::bad_alloc",
            r"RuntimeError: unable to mmap \d+ bytes from file <[^\n]*: Cannot allocate memory",
            r"RuntimeError: \[enforce fail at alloc_cpu",
            r"(?:ImportError|OSError): [^\n]*failed to map segment from shared object: Cannot allocate memory",
        ),
        printed=(
            (
                r"slurmstepd: error: (?:Detected \d+ oom[_-]kill event|Exceeded (?:job|step) memory limit|"
                r"Job \d+ exceeded memory limit)"
            ),
            r"srun: error: \S+: tasks? [\d,-]+: Out Of Memory",
            "Some of (?:your processes may have been killed by|the step tasks have been OOM)",
            r"(?:Memory cgroup out|Out) of memory: Killed process \d+",
            "(?:Reason: +)?OOMKilled$",
            "TERM_MEMLIMIT: ",
            "=>> PBS: job killed: mem ",
        ),
    ),
    Cause(
        "time limit",
        "the scheduler ended the job because its time was over",
        "make plan says how many hours the run takes. Ask for that many, and run the same command again: make all. A "
        "training that was ended starts from the beginning.",
        printed=(
            r"slurmstepd: error: \*\*\* (?:JOB|STEP) .*DUE TO TIME LIMIT",
            "=>> PBS: job killed: walltime",
            "TERM_RUNLIMIT: ",
            "srun: error: .*DUE TO TIME LIMIT",
        ),
    ),
    Cause(
        "pre-empted",
        "the scheduler took the machine for another job",
        "Submit the job again, to a partition or kind of machine that is not pre-empted if there is one: make all. A "
        "training that was ended starts from the beginning.",
        printed=(
            r"slurmstepd: error: \*\*\* (?:JOB|STEP) .*DUE TO (?:PREEMPTION|JOB REQUEUE)",
            "TERM_PREEMPT: ",
            "=>> PBS: job killed: preempt",
        ),
    ),
    Cause(
        "machine lost",
        "the scheduler lost a machine of the job",
        "Submit the job again, without that machine: make all. A training that was ended starts from the beginning.",
        printed=(
            r"slurmstepd: error: \*\*\* (?:JOB|STEP) .*DUE TO NODE FAILURE",
            "srun: error: Node failure on",
        ),
    ),
    Cause(
        "cancelled",
        "somebody, or the scheduler, cancelled the job",
        "sacct -j JOB --format=State,Reason%40 tells who and why. Submit it again: make all.",
        printed=(
            r"slurmstepd: error: \*\*\* (?:JOB|STEP) .*CANCELLED AT (?!.*DUE TO)",
            "TERM_OWNER: ",
            "TERM_ADMIN: ",
        ),
        rank=ENDED,
    ),
    Cause(
        "interrupted",
        "it was stopped from the keyboard (Ctrl-C)",
        "Run the same command again: make all. It starts from the beginning.",
        raised=(
            r"KeyboardInterrupt\b",
            r"SignalException: Process \d+ got signal: 2\b",
        ),
        signals=(2,),
    ),
    Cause(
        "hang-up",
        "its terminal was closed",
        "Start it where it outlives the terminal, in tmux or with nohup: nohup make all &",
        raised=(r"SignalException: Process \d+ got signal: 1\b",),
        signals=(1,),
        rank=ENDED,
    ),
    Cause(
        "terminated",
        "somebody, a scheduler or a shutdown asked it to end (SIGTERM)",
        "The scheduler's or the machine's own log says who. Run the same command again: make all. It starts from the "
        "beginning.",
        raised=(r"SignalException: Process \d+ got signal: (?:15|Signals\.SIGTERM)",),
        printed=(r"(?:.*: line \d+: +\d+ )?Terminated(?: |$)",),
        signals=(15,),
        rank=SYMPTOM,
    ),
    Cause(
        "killed",
        "the system ended a process (SIGKILL), most likely for lack of memory; dmesg, or the container's limit, says "
        "so",
        "If it was memory, give the machine or the container more memory, and let nothing else run beside the "
        "training. " + AGAIN,
        raised=(
            r"RuntimeError: DataLoader worker \(pid [^)]*\) is killed by signal: Killed",
            r"ProcessExitedException: process \d+ terminated with signal SIGKILL",
        ),
        printed=(
            r"(?:.*: line \d+: +\d+ )?Killed(?: {2,}|$)",
            r"srun: error: \S+: tasks? [\d,-]+: Killed",
            "command terminated with exit code 137",
        ),
        signals=(9,),
        rank=ENDED,
    ),
    Cause(
        "crash in compiled code",
        "a process crashed inside a library",
        "Build the environment again (make step-3 FORCE=1, then make all). If it crashes again on this machine and "
        "not on another, its memory or a GPU is faulty.",
        raised=(
            r"RuntimeError: DataLoader worker \(pid [^)]*\) is killed by signal: Segmentation fault",
            r"ProcessExitedException: process \d+ terminated with signal SIGSEGV",
        ),
        printed=(
            "Fatal Python error: Segmentation fault",
            r"(?:.*: line \d+: +\d+ )?Segmentation fault(?: +\(core dumped\)|$|  )",
            r"(?:\[[^\]]*\] )?Caught signal 11 \(Segmentation fault",
            r"srun: error: \S+: tasks? [\d,-]+: Segmentation fault",
            "double free or corruption",
            r"free\(\): ",
            r"malloc\(\): ",
            r"munmap_chunk\(\): ",
            "corrupted (?:size|double-linked)",
        ),
        signals=(11,),
        rank=ENDED,
    ),
    Cause(
        "processor too old",
        "a library uses instructions that this processor does not have",
        "Run the same command on a newer processor (x86-64 with AVX2): make all.",
        raised=(r"RuntimeError: DataLoader worker \(pid [^)]*\) is killed by signal: Illegal instruction",),
        printed=(
            "Fatal Python error: Illegal instruction",
            r"(?:.*: line \d+: +\d+ )?Illegal instruction(?: +\(core dumped\)|$)",
        ),
        signals=(4,),
        rank=ENDED,
    ),
)
