"""OneReward's Algorithms 1 and 2 (arXiv 2508.21066), line by line.

The two differ in one line: the reference pi_ref is the frozen start (Algorithm 1) or the moving
average of the policy (Algorithm 2).
"""

from __future__ import annotations

from onefill.interrupt import Interrupted, StopRequest
from onefill.rl.display import Display, StepReport
from onefill.rl.loss import onereward_loss
from onefill.rl.metrics import PhaseTimer
from onefill.rl.randomness import Purpose, draw_gradient_step, noise_generators
from onefill.rl.reward import rewards
from onefill.rl.rollout import gradient_images, partial_denoising, reference_images
from onefill.rl.summary import Summary, log_win_rates, summarise, write_sheet
from onefill.rl.training import Training


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
            if _is_due(run.step, config.samples.every) or is_last:
                write_sheet(run)
            if is_measured and not is_last:
                log_win_rates(run, "win rate", run.held_out.measure())
            display.doing("training")
        display.note("measuring the trained model on the same samples")
        after = run.held_out.measure()
    except Interrupted:
        run.save()
        raise
    run.write_results()
    return summarise(run, before, after)


def take_step(run: Training) -> StepReport:
    """One update: the body of the algorithm's loop."""
    config, policy, sampler, places = (
        run.config,
        run.policy,
        run.sampler,
        range(run.config.batch_size),
    )
    timer = PhaseTimer()

    # Draw a task k with probability p_k, a condition c, two noises and a step t from [t1, t2].
    task = run.mixer.draw()
    batch = run.next_batch(task)
    conditions = policy.encode(batch.images, batch.masks, batch.prompts)
    noise_ref = policy.noise(
        conditions, noise_generators(config.seed, Purpose.REFERENCE_NOISE, run.step, places)
    )
    noise = policy.noise(
        conditions, noise_generators(config.seed, Purpose.POLICY_NOISE, run.step, places)
    )
    t = draw_gradient_step(config.seed, run.step, run.gradient_steps)

    # x_ref: full denoising by pi_ref.
    with timer.phase("reference"):
        x_ref = reference_images(policy, run.reference, batch, conditions, noise_ref, sampler)

    # x_theta: denoised by pi_theta to t without gradient, then one prediction of x0' with it.
    with timer.phase("rollout"):
        partial = partial_denoising(policy, conditions, noise, sampler, until=t)
    with timer.phase("gradient step"):
        x_theta = gradient_images(policy, batch, conditions, partial, sampler)

    # J: max(0, lambda - P(yes | x_theta, x_ref, q_e)), the mean over the dimensions e of the task.
    with timer.phase("judge"):
        p_yes = rewards(run.judge, x_theta, x_ref, batch.questions)
        loss = onereward_loss(p_yes, config.lam)

    # Update theta, then pi_ema or pi_ref <- tau pi + (1 - tau) pi_theta.
    with timer.phase("backward"):
        rate = run.optimizer.rate(run.step)
        norm = run.optimizer.update(loss, run.step)
    if run.average is not None:
        run.average.update()
    run.step += 1

    means = {dimension: p.mean().item() for dimension, p in p_yes.items()}
    report = StepReport(run.step, task, loss.item(), means)
    run.metrics.append(
        "step",
        run.step,
        {
            "task": task,
            "loss": report.loss,
            "reward": means,
            "saturated": {
                name: (p >= config.lam).float().mean().item() for name, p in p_yes.items()
            },
            "gradient_norm": norm,
            "learning_rate": rate,
            "gradient_step": t,
            "sigma": partial.sigma.item(),
            "seconds": timer.take(),
        },
    )
    return report


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
