"""The ways in which this package compiles a function.

numba's cache lies beside the source (or in ``NUMBA_CACHE_DIR``) and is keyed by the *calling* function's file only, so
compiled functions call each other only within one module: an edit then always recompiles all that it touches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """``function`` as machine code: compiled at its first call, cached on disk, releasing the interpreter lock."""
    return cast(Function, numba.njit(cache=True, nogil=True)(function))


def inlined(function: Function) -> Function:
    """``function`` as part of each compiled function that calls it.

    For what a loop calls at every turn and hands an array: a call would count the array's references up and down, each an
    atomic operation that takes longer than a draw or a step of a hash.
    """
    return cast(Function, numba.njit(inline="always", nogil=True)(function))
