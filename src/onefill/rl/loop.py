"""OneReward's Algorithms 1 and 2 (arXiv 2508.21066), line by line.

The two differ in one line: the reference pi_ref is the frozen start (Algorithm 1) or the moving
average of the policy (Algorithm 2).
"""

from __future__ import annotations

from onefill.interrupt import Interrupted, StopRequest
from onefill.rl.centring import centred
from onefill.rl.display import Display, StepReport
from onefill.rl.guards import Guard
from onefill.rl.loss import answer_shares, onereward_loss
from onefill.rl.metrics import PhaseTimer
from onefill.rl.penalty import distance, penalty
from onefill.rl.randomness import Purpose, draw_gradient_step, noise_generators
from onefill.rl.rollout import carried_on, gradient_images, partial_denoising, predicted_latents
from onefill.rl.summary import Summary, log_win_rates, summarise, write_sheet
from onefill.rl.tally import Tally
from onefill.rl.training import Training
from onefill.rl.watch import watch


def train(run: Training, display: Display, stop: StopRequest) -> Summary:
    """Bring a run to its last step and measure what was learned.

    Raises:
        Interrupted: a stop was asked for; the run is saved and can be resumed.
        OnefillError: loss or gradient is not finite; the last checkpoint stays.
    """

    def tick(task: str, done: int, of: int) -> None:
        display.doing(f"held out: {task} {done}/{of}")
        stop.check()

    run.held_out.tick = tick
    config = run.config
    try:
        display.note("measuring the start model on held-out samples")
        before = run.held_out.measure_start()
        if run.step == 0:
            log_win_rates(run, "start", before)
        while run.step < config.steps:
            report = take_step(run)
            display.step(report)
            is_last = run.step == config.steps
            is_measured = _is_due(run.step, config.evaluation.every)
            if is_last or is_measured or _is_due(run.step, config.checkpoints.every):
                run.save()
            stop.check()
            if _is_due(run.step, config.monitor.every):
                watch(run, display)
            if _is_due(run.step, config.samples.every) or is_last:
                with run.settled():
                    write_sheet(run)
            if is_measured and not is_last:
                with run.settled():
                    log_win_rates(run, "win rate", run.held_out.measure())
            display.doing("training")
        display.note("measuring the trained model on the same samples")
        with run.settled():
            after = run.held_out.measure()
    except Interrupted:
        run.save()
        raise
    run.write_results()
    return summarise(run, before, after)


def take_step(run: Training) -> StepReport:
    """One update: the body of the algorithm's loop."""
    config, policy, timer = run.config, run.policy, PhaseTimer()

    # Draw a task k (or several) by probability p_k, samples of it, and its step t from [t1, t2].
    counts = run.mixer.draw(config.tasks_per_step, config.batch_size)
    batch = run.next_batch(counts)
    shares = answer_shares(batch.questions, run.weights)
    steps = {k: draw_gradient_step(config.seed, run.step, run.gradient_steps[k]) for k in counts}
    tally = Tally()
    for places in run.parts_of(batch):
        # A condition c and two noises for each sample.
        part = batch.select(places)
        sampler, t = run.samplers[part.task.name], steps[part.task.name]  # of all its tasks alike
        guard = Guard(run.step, part.names)
        with timer.phase("conditions"):
            conditions = run.recall.conditions(part)
        guard.check("conditions", conditions.masked_latents)
        guard.check("conditions", conditions.prompt_embeds)
        noise_ref, noise = (
            policy.noise(conditions, noise_generators(config.seed, purpose, run.step, places))
            for purpose in (Purpose.REFERENCE_NOISE, Purpose.POLICY_NOISE)
        )

        # x_ref: full denoising by pi_ref.
        with timer.phase("reference"):
            x_ref = guard.check("reference", run.reference_images(part, conditions, noise_ref))

        # x_theta: denoised by pi_theta to t without gradient, then one prediction of x0' with it.
        with timer.phase("rollout"):
            partial = partial_denoising(policy, part, conditions, noise, sampler, until=t)
            guard.check("rollout", partial.latents)
            by_reference = run.reference_latents(conditions, partial, sampler)
        with timer.phase("gradient step"):
            latents = predicted_latents(policy, conditions, partial, sampler)
            guard.check("gradient step", latents)
        # Not in the paper: denoising goes on to the end, so that the judge sees no blur.
        with timer.phase("rollout"):
            is_end = config.image == "sampled"
            end = carried_on(policy, conditions, partial, latents, sampler) if is_end else latents
        with timer.phase("gradient step"):
            if config.reward.centred:
                end = centred(end, conditions)
            x_theta = gradient_images(policy, part, conditions, end)
            guard.watch("gradient step", x_theta)

        # J: max(0, lambda - P(yes | x_theta, x_ref, q_e)), the mean over the dimensions e of k.
        with timer.phase("judge"), guard.naming("judge"):
            logits = run.reward.logits(x_theta, x_ref, part.questions, run.step, places)
            loss = onereward_loss(logits, shares, config.lam, config.loss)

        # Not in the paper: what leaving the reference costs, nothing by default.
        share = len(part) / len(batch)
        gone = distance(latents, by_reference, partial) if by_reference is not None else None
        if gone is not None and config.penalty.weight > 0:
            loss = loss + share * penalty(gone, config.penalty)
        with timer.phase("backward"):
            run.optimizer.accumulate(loss, run.step)
        tally.count(loss, logits, gone, share)

    # Update theta, then pi_ema or pi_ref <- tau pi + (1 - tau) pi_theta.
    tally = Tally.of_all(run.processes.gather(tally))
    with timer.phase("backward"):
        run.processes.add_gradients(policy.trainable_parameters().values())
        rate = run.optimizer.rate(run.step)
        norm = run.optimizer.update(run.step)
    if run.average is not None:
        run.average.update()
    run.step += 1

    report = StepReport(run.step, tally.loss, tally.rewards())
    values = {"tasks": counts, **tally.values(config.lam), "gradient_norm": norm}
    values |= {"learning_rate": rate, "gradient_step": steps, "sigma": run.noise_levels(steps)}
    run.metrics.append("step", run.step, {**values, "seconds": timer.take()})
    return report


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
