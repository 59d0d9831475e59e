"""Carry out many edits with one model: what fits together is painted together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from onefill.edit.job import (
    EditResult,
    Signature,
    batch_size,
    fits_together,
    paint_together,
    run_edit,
    write_result,
)
from onefill.edit.jobs import Job
from onefill.edit.request import EditPlan, plan_edit
from onefill.errors import OnefillError
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import Sampling

_MOST_TOGETHER = 16  # crops; more make no edit cheaper, and results come later


@dataclass
class Outcome:
    """What became of a job.

    Attributes:
        job: the job.
        key: what ``key_of`` said of it.
        plan: as planned, before it was staged; None if it could not be.
        results: the files written.
        error: why there are not all of them.
    """

    job: Job
    key: str | None = None
    plan: EditPlan | None = None
    results: list[EditResult] = field(default_factory=list)
    error: OnefillError | None = None


def run_jobs(
    jobs: Iterable[Job],
    policy: FluxFillPolicy,
    sampling: Sampling,
    signature: Signature | None = None,
    *,
    stage: Callable[[EditPlan], EditPlan] = lambda plan: plan,
    key_of: Callable[[Job], str | None] = lambda job: None,
) -> Iterator[Outcome]:
    """Every job's outcome, in order; a failure is the outcome of its own job only.

    Args:
        jobs: what to do; photographs are read as they come.
        policy: paints.
        sampling: how.
        signature: what results tell of their making; None leaves that out.
        stage: may send a plan's results to other places.
        key_of: the key to be written into a job's results; see ``onefill.edit.key``.
    """
    most = min(batch_size(policy.settings), _MOST_TOGETHER)
    window: list[Outcome] = []
    for job in jobs:
        # Before its files are read: one that changes meanwhile is found changed by a later run.
        outcome = _plan(job, key_of(job))
        planned = [each.plan for each in (*window, outcome) if each.plan is not None]
        crops = sum(len(plan.seeds) for plan in planned)
        if window and (crops > most or not fits_together(planned)):
            yield from _carry_out(window, policy, sampling, signature, stage)
            window = []
        window.append(outcome)
    yield from _carry_out(window, policy, sampling, signature, stage)


def _plan(job: Job, key: str | None) -> Outcome:
    try:
        return Outcome(job, key, plan_edit(job.request))
    except OnefillError as error:
        return Outcome(job, key, error=error)


def _carry_out(
    window: Sequence[Outcome],
    policy: FluxFillPolicy,
    sampling: Sampling,
    signature: Signature | None,
    stage: Callable[[EditPlan], EditPlan],
) -> Iterator[Outcome]:
    """Paint the plans of a window together; where that fails, each alone, to find whose fault."""
    good = [(outcome, outcome.plan) for outcome in window if outcome.plan is not None]
    painted = {}
    if len(good) > 1:
        edits = [(plan, seed) for _, plan in good for seed in plan.seeds]
        try:
            canvases = iter(paint_together(edits, policy, sampling))
            painted = {id(plan): [next(canvases) for _ in plan.seeds] for _, plan in good}
        except OnefillError:
            painted = {}
    for outcome in window:
        signed = None if signature is None else replace(signature, key=outcome.key)
        if outcome.plan is not None:
            try:
                staged = stage(outcome.plan)
                if id(outcome.plan) in painted:
                    canvases_of = painted.pop(id(outcome.plan))
                    for seed, canvas in zip(staged.seeds, canvases_of, strict=True):
                        outcome.results.append(
                            write_result(staged, seed, canvas, policy, sampling, signed)
                        )
                else:
                    outcome.results.extend(run_edit(staged, policy, sampling, signed))
            except OnefillError as error:
                outcome.error = error
        yield outcome
