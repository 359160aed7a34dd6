"""The checks that hold a bundle's manifest against its files, and against itself.

Each takes the :class:`Context` and returns an outcome and lines: ``ok`` (what was seen), ``wrong`` (each finding),
``unknown`` (why it could not be made, or which claim could not be checked) or ``skipped`` (why it does not apply; never a
reason to distrust). A claim that cannot be checked is never passed over.
"""

from collections.abc import Callable

from trm_repro.provenance.checks import claims, record, vouchers
from trm_repro.provenance.checks.context import Context, Finding, Outcome

__all__ = ["CHECKS", "Context", "Finding"]

CHECKS: dict[str, Callable[[Context], Outcome]] = {
    "manifest": record.manifest,
    "recipe": record.recipe,
    "outputs": record.outputs,
    "commands": record.commands,
    "steps": record.steps,
    "config": record.config,
    "tensors": record.tensors,
    "twin": record.twin,
    "submission": claims.submission,
    "metrics": claims.metrics,
    "card": claims.card,
    "statement": vouchers.statement,
    "signature": vouchers.signature,
    "sigstore": vouchers.sigstore,
    "openssf": vouchers.openssf_signature,
    "attested": vouchers.attested,
}
