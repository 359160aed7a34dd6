"""Verbs of ``arc/`` and ``puzzles/``: tasks, datasets, scores."""

from __future__ import annotations

import argparse


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this room's verbs to the parser."""
