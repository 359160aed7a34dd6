"""CPU support for CUDA-only code: ``sitecustomize``."""
