"""Failures of GPUs and their driver, and of the kernels that are compiled for them."""

from __future__ import annotations

from trm_repro.training.causes.kinds import AGAIN, COMPILER, DATASET, DIVERGED, ELSEWHERE, FULL, Cause, cuda

GPU = (
    Cause(
        "out of GPU memory",
        "a GPU has too little memory for its share of the batch",
        "End other programs on the GPUs (nvidia-smi lists them), or use more GPUs, or larger ones; then run the same "
        "command again: make all. The batch is split among them, so fewer GPUs need more memory each; flags are "
        "never changed.",
        raised=(
            "OutOfMemoryError: (?:CUDA|HIP|Allocation on device|$)",
            r"\w+: CUDA out of memory",
            r"\w+: CUDA error: CUBLAS_STATUS_ALLOC_FAILED",
            *cuda("out of memory"),
        ),
    ),
    Cause(
        "fabric manager",
        "the service that connects the GPUs by NVSwitch (error 802) does not run",
        "Start it as root: systemctl start nvidia-fabricmanager, of exactly the driver's version; in a container or "
        "on a rented machine, ask its provider. " + AGAIN,
        raised=(*cuda("system not yet initialized", "CUDA_ERROR_SYSTEM_NOT_READY"),),
    ),
    Cause(
        "driver and library",
        "the loaded driver and its library on disk are of different versions",
        "Restart the machine, or its driver (a container: start it again with the host's own libraries, without a "
        "cuda-compat folder in LD_LIBRARY_PATH). Once nvidia-smi answers, run the same command again: make all.",
        raised=(
            *cuda(
                "system has unsupported display driver",
                "forward compatibility was attempted",
                "API call is not supported in the installed",
            ),
            (
                "(?:NVMLError_LibRmVersionMismatch|NVMLError|"
                "RuntimeError): (?:Failed to initialize NVML: )?Driver/library version mismatch"
            ),
            r"DistBackendError: (?:[^\n]*\n)+?[^\n]*Driver/library version mismatch",
        ),
        printed=("Failed to initialize NVML: Driver/library version mismatch",),
    ),
    Cause(
        "driver too old",
        "the driver is older than the environment's CUDA needs",
        "Install a newer driver, or let make step-3 FORCE=1 choose the lock that fits the present one (make step-1 "
        "says which); then run make all.",
        raised=(
            "RuntimeError: The NVIDIA driver on your system is too old",
            *cuda("CUDA driver version is insufficient", "the provided PTX was compiled with an unsupported toolchain"),
        ),
    ),
    Cause(
        "kernel refused by the driver",
        "the driver cannot load a compiled kernel: it is older than the compiler, or the kernel is damaged",
        "Run the same command once more: make all, which compiles them anew. If it comes again, install a newer driver.",
        raised=(*cuda("device kernel image is invalid"),),
    ),
    Cause(
        "no GPU",
        "no process sees an NVIDIA GPU",
        "make step-1 says what is seen. In a container, start it with --gpus all; in a job, ask for GPUs; unset an "
        "empty CUDA_VISIBLE_DEVICES. " + AGAIN,
        raised=(
            (
                "RuntimeError: (?:No CUDA GPUs are available|Found no NVIDIA driver|0 active drivers|"
                "Cannot access accelerator device when none)"
            ),
            r"\w+: ProcessGroupNCCL is only supported with GPUs",
            *cuda("no CUDA-capable device is detected"),
        ),
    ),
    Cause(
        "too few GPUs",
        "a process was given a GPU that it cannot see: more processes than visible GPUs",
        "Compare CUDA_VISIBLE_DEVICES and nvidia-smi -L with the number of processes: make plan prints the command. "
        "Set MAX_GPUS_TO_USE to a number of GPUs that are there, and run make all.",
        raised=(
            *cuda("invalid device ordinal"),
            r"DistBackendError: [^\n]*invalid usage(?:[^\n]*\n)+?(?:[^\n]*: )?Duplicate GPU detected",
        ),
    ),
    Cause(
        "GPU in use",
        "a GPU admits no further process",
        "Another program has it, or it is in exclusive mode, or MIG is on without a slice: nvidia-smi shows each. "
        "End that program, or have the mode changed. " + AGAIN,
        raised=(
            *cuda(
                r"CUDA-capable device\(s\) is/are busy",
                "all CUDA-capable devices are busy",
                "exclusive-thread device already in use",
            ),
        ),
    ),
    Cause(
        "CUDA fails",
        "the driver failed and did not say why",
        "See whether nvidia-smi works and /dev/nvidia-uvm exists; restart the machine after a driver update or a "
        "suspend, and a container after its host's. " + AGAIN,
        raised=(
            "RuntimeError: CUDA unknown error - this may be due",
            *cuda("unknown error"),
        ),
    ),
    Cause(
        "GPU without a kernel",
        "torch or adam-atan2 was not built for this kind of GPU",
        "Build the environment again on this machine, for its own GPUs: make step-3 FORCE=1, then make all. make "
        "step-1 says if they are of a kind that no lock knows; then use others.",
        raised=(
            *cuda("no kernel image is available"),
            "RuntimeError: nvrtc: error: invalid value for --gpu-architecture",
            "GPUTooOldForTriton: ",
            r"RuntimeError: Found [^\n]* which is too old to be supported by the triton",
        ),
    ),
    Cause(
        "GPU hardware",
        "a GPU or its link is failing",
        "Note what nvidia-smi -q and dmesg say of it and have that GPU reset or replaced. " + ELSEWHERE,
        raised=(
            *cuda(
                "uncorrectable ECC error",
                "uncorrectable NVLink error",
                "Invalid access of peer GPU memory over nvlink",
                "hardware stack error",
                "unable to determine the device handle",
                "GPU is lost",
                "device is lost",
            ),
            "(?:NVMLError_GpuIsLost|NVMLError): GPU is lost",
            r"\w+: Unable to determine the device handle for GPU",
        ),
        printed=(
            "Unable to determine the device handle for GPU",
            (
                r"NVRM: (?:Xid \([^)]*\): (?:48|62|64|74|79|92|94|95|119|120|140|143)\b|"
                "GPU [^ ]+ has fallen off the bus)"
            ),
        ),
    ),
    Cause(
        *DIVERGED,
        raised=(*cuda("device-side assert triggered"),),
        beside=r".* Assertion `(?:input_val >= zero|probability tensor contains)",
    ),
    Cause(
        "index out of range on the GPU",
        "a kernel met an index that its table does not have: the data do not belong to the model",
        "The dataset in the folder is not the recipe's, or damaged. " + DATASET,
        raised=(*cuda("device-side assert triggered"),),
    ),
    Cause(
        "kernel fault",
        "a kernel on a GPU read or wrote where it must not; the line of the traceback is not where that happened",
        "Run the same command once more: make all. If it fails on the same GPU again (dmesg names it in an Xid "
        "line), the GPU is suspect: use another machine. If it fails on every GPU, build the environment again "
        "first: make step-3 FORCE=1.",
        raised=(
            *cuda(
                "an illegal memory access",
                "unspecified launch failure",
                "misaligned address",
                "an illegal instruction was encountered",
                "invalid program counter",
                "operation not supported on global/shared address space",
            ),
        ),
    ),
    Cause(
        "kernel cut off by the display",
        "the driver ends long kernels on a GPU that also drives a screen",
        "Use a GPU without a display, or stop the graphical session on this machine. " + AGAIN,
        raised=(*cuda("the launch timed out and was terminated"),),
    ),
    Cause(
        "kernel too large for the GPU",
        "a compiled kernel needs more on-chip memory than a multiprocessor of this GPU has",
        "That depends on the kind of GPU alone: nothing is to be installed, and no setting of the run changed. Use "
        "GPUs with more of it (A100, H100 and H200 have 160 KB and more), and run the same command there: make all.",
        raised=(
            "OutOfResources: out of resource: ",
            r"\w+: out of resource: (?:(?:shared memory|registers|tensor memory),|\w+) Required: ",
        ),
    ),
    Cause(
        "assembler too old for the GPU",
        "triton's ptxas does not know this GPU",
        "Take the newer lock: export CUDA_LOCK=cu130, make step-3 FORCE=1, make all. If it is installed already, "
        "this kind of GPU is newer than it: use another.",
        raised=(
            (
                "(?:PTXASError|RuntimeError|NoTritonConfigsError|"
                r"\w+Error): (?:[^\n]*\n)*?(?:[^\n]*\b)?ptxas\b[^\n]*fatal\s*: (?:Value '\w+' is not defined|"
                r"Unsupported \.(?:target|version))"
            ),
        ),
        printed=(
            (
                r"ptxas (?:[\w./-]+[:,] (?:line \d+; )?)?fatal\s*: (?:Value '\w+' is not defined for option|"
                r"Unsupported \.(?:target|version))"
            ),
        ),
    ),
    Cause(
        "no compiler",
        "torch.compile needs a C and a C++ compiler, and there is none",
        "Install them (Debian: apt-get install gcc g++), or name them in CC and CXX. " + AGAIN,
        raised=(
            r"\w+: Failed to find C compiler",
            "InvalidCxxCompiler: ",
            r"RuntimeError: No working C\+\+ compiler found",
            (
                r"FileNotFoundError: \[Errno 2\] No such file or directory: '(?:[\w/.-]*/)?(?:gcc|g\+\+|cc|c\+\+|"
                r"clang|clang\+\+)'"
            ),
        ),
    ),
    Cause(
        "disk full while compiling",
        "the compiler could not write its temporary files",
        "Free the disk that holds /tmp (df -h /tmp), or point TMPDIR at one with room. " + AGAIN,
        raised=(
            r"(?:CppCompileError|CUDACompileError): (?:[^\n]*\n)*?[^\n]*No space left on device",
            FULL + r"[^\n]*/torchinductor_",
        ),
    ),
    Cause(
        "disk full while compiling",
        "the compiler could not write its temporary files",
        "Free the disk that holds /tmp (df -h /tmp), or point TMPDIR at one with room. " + AGAIN,
        raised=(COMPILER,),
        beside=r"(?:\S+: )*(?:fatal error|Fatal error|error|final link failed|can't \w+)\b[^\n]*No space left on device",
    ),
    Cause(
        "out of memory",
        "the compiler was killed for lack of the machine's memory",
        "Give the machine or the container more memory, and let nothing else run beside the training. " + AGAIN,
        raised=(COMPILER,),
        beside=r"(?:\S+: )*fatal error: Killed signal terminated program",
    ),
    Cause(
        "out of memory",
        "the compiler was killed for lack of the machine's memory",
        "Give the machine or the container more memory, and let nothing else run beside the training. " + AGAIN,
        raised=(r"(?:CppCompileError|CUDACompileError): (?:[^\n]*\n)*?[^\n]*Killed signal terminated program",),
    ),
    Cause(
        "Python headers",
        "torch.compile compiles against Python.h, which is not installed",
        "Install the headers of the environment's Python (Debian: apt-get install python3.10-dev). " + AGAIN,
        raised=(
            COMPILER,
            r"(?:CppCompileError|CUDACompileError): (?:[^\n]*\n)*?[^\n]*Python\.h: No such file",
        ),
        beside=r"(?:.*fatal error: )?Python\.h: No such file",
    ),
    Cause(
        "libcuda not found",
        "the compiler finds no libcuda.so to link against",
        "ldconfig -p | grep libcuda shows where the driver's library is; name that folder in LIBRARY_PATH and "
        "LD_LIBRARY_PATH, or in a container pass the driver through (--gpus all). " + AGAIN,
        raised=(r"AssertionError: libcuda\.so cannot found",),
    ),
    Cause(
        "libcuda not found",
        "the compiler finds no libcuda.so to link against",
        "ldconfig -p | grep libcuda shows where the driver's library is; name that folder in LIBRARY_PATH and "
        "LD_LIBRARY_PATH, or in a container pass the driver through (--gpus all). " + AGAIN,
        raised=(COMPILER,),
        beside=r"\S*ld(?:\.\w+)?: cannot find -lcuda\b",
    ),
    Cause(
        "compiler failed",
        "the C or C++ compiler that torch.compile calls ended with an error",
        "Its own words stand in the log, above the traceback or at its end. Once they are mended, or with another "
        "compiler (CC=…, CXX=…), run the same command again: make all.",
        raised=(
            COMPILER,
            r"(?:CppCompileError|CUDACompileError): C\+\+ compile error",
        ),
    ),
)
