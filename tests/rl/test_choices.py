"""Every choice of the configuration reaches the updates, and only as it says."""

from __future__ import annotations

import pytest
import torch

from onefill.errors import BadInput
from onefill.rl.loop import take_step
from onefill.rl.penalty import distance
from onefill.rl.rollout import Partial

from .conftest import shake, weights_of

ONE_TASK = {"tasks": {"fill": 1.0}, "batch_size": 4}


def trained(run, steps=2):
    losses = [take_step(run).loss for _ in range(steps)]
    return losses, weights_of(run)


def same(one, other, tolerance=0.0):
    return all(torch.allclose(one[n], other[n], rtol=0, atol=tolerance) for n in one)


@pytest.fixture
def plain(open_run):
    return trained(open_run(name="plain", **ONE_TASK))


@pytest.mark.parametrize(
    "choice",
    [
        {"loss": "logistic"},
        {"loss": "relu"},
        {"dimensions": {"structure": 5.0}},
        {"dimensions": {"text-alignment": 0.0}},
        {"reward": {"symmetric": True}},
        {"reward": {"noise": 0.1}},
        {"reward": {"shift": 2}},
        {"reward": {"resize": 0.2}},
    ],
    ids=str,
)
def test_a_choice_about_loss_or_reward_changes_the_updates(open_run, plain, choice):
    losses, weights = trained(open_run(**ONE_TASK, **choice))
    assert losses != plain[0]
    assert not same(weights, plain[1])


def test_a_reward_of_two_like_judges_is_that_of_one(open_run, plain, random_judge):
    run = open_run(**ONE_TASK, reward={"judges": [str(random_judge)]})
    losses, weights = trained(run)
    assert losses == plain[0] and same(weights, plain[1])


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_accumulation_changes_nothing_but_rounding(open_run, parts):
    run = open_run(**ONE_TASK, optimizer={"learning_rate": 1e-2, "accumulation": parts})
    assert [len(places) for places in run.parts] == [[2, 2], [1, 1, 2], [1] * 4][parts - 2]
    whole = open_run(name="whole", **ONE_TASK)
    gradients = []
    for each in (whole, run):
        shake(each)
        each.optimizer.update = lambda step, each=each: gradients.append(
            {name: p.grad.clone() for name, p in each.policy.trainable_parameters().items()}
        )
    losses = [take_step(each).loss for each in (whole, run)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    largest = max(gradient.abs().max().item() for gradient in gradients[0].values())
    assert same(*gradients, tolerance=1e-4 * largest)


def test_more_parts_than_samples_are_refused(open_run):
    with pytest.raises(BadInput, match=r"optimizer\.accumulation 5: a batch of 4"):
        open_run(**ONE_TASK, optimizer={"accumulation": 5})


@pytest.mark.parametrize("part", ["transformer", "judge", "vae"])
@pytest.mark.parametrize("train", ["lora", "full"])
def test_recomputing_changes_nothing_but_rounding(open_run, part, train):
    losses, calls = {}, {}
    for recompute in (False, True):
        run = open_run(name=str(recompute), train=train, recompute={part: recompute}, **ONE_TASK)
        inner = {
            "transformer": run.policy.pipeline.transformer.transformer_blocks[0].attn,
            "judge": run.judge.model.model.visual.blocks[0].mlp,
            "vae": run.policy.pipeline.vae.decoder.layers[0],
        }[part]
        seen = calls.setdefault(recompute, [])
        inner.register_forward_pre_hook(
            lambda module, given, seen=seen: seen.append(torch.is_grad_enabled())
        )
        losses[recompute] = take_step(run).loss
        assert not run.judge.model.training
    assert losses[True] == pytest.approx(losses[False], abs=1e-5)
    # What is computed with gradient is computed once more on the way back; the rest is not.
    assert calls[True].count(True) == 2 * calls[False].count(True) > 0
    assert calls[True].count(False) == calls[False].count(False)


def test_the_gradient_is_clipped_and_its_norm_told_before(open_run):
    run = open_run(**ONE_TASK, optimizer={"clip_norm": 1e-4, "learning_rate": 1e-2})
    take_step(run)
    (row,) = run.metrics.read("step")
    assert row["gradient_norm"] > 1e-4


def test_only_the_layers_that_are_named_get_an_adapter(open_run):
    run = open_run(lora={"rank": 2, "alpha": 2.0, "targets": ["to_q", "to_v"]})
    names = run.policy.trainable_parameters()
    assert names and all(".to_q." in name or ".to_v." in name for name in names)
    with pytest.raises(BadInput, match=r"lora\.targets \['to_z'\]: no layer of this model"):
        open_run(name="other", lora={"targets": ["to_z"]})


def test_adapters_are_float32_whatever_the_model_is(open_run):
    run = open_run(dtype="bfloat16", **ONE_TASK)
    assert run.policy.dtype == torch.bfloat16
    assert {p.dtype for p in run.policy.trainable_parameters().values()} == {torch.float32}


@pytest.mark.parametrize("kind", ["schedule-free", "adamw-8bit"])
def test_the_other_optimizers_learn_and_go_on_bit_for_bit(open_run, kind):
    pytest.importorskip({"schedule-free": "schedulefree", "adamw-8bit": "bitsandbytes"}[kind])
    settings = {
        **ONE_TASK,
        # Large enough for states of 8 bits.
        "lora": {"rank": 64, "alpha": 64.0},
        "optimizer": {"kind": kind, "learning_rate": 1e-2, "warmup": 2},
    }
    whole = open_run(name="whole", **settings)
    before = weights_of(whole)
    losses, expected = trained(whole, 4)
    assert not same(expected, before)

    first = open_run(name="parted", **settings)
    trained(first, 2)
    with first.settled():
        pass  # measuring leaves no trace
    first.save()
    rest = open_run(name="parted", resume=True)
    assert trained(rest, 2)[0] == losses[2:]
    assert same(weights_of(rest), expected)
    state, resumed = whole.optimizer.tensors(), rest.optimizer.tensors()
    assert state.keys() == resumed.keys()
    assert all(torch.equal(state[name], resumed[name]) for name in state)
    if kind == "adamw-8bit":
        assert any(tensor.dtype == torch.uint8 for tensor in state.values())


def test_schedule_free_hands_out_other_weights_than_it_takes_gradients_at(open_run):
    pytest.importorskip("schedulefree")
    optimizer = {"kind": "schedule-free", "learning_rate": 1e-2}
    run = open_run(**ONE_TASK, optimizer=optimizer)
    trained(run, 3)
    taken_at = weights_of(run)
    with run.settled():
        handed_out = weights_of(run)
    assert run.average is None  # it averages itself
    run.optimizer._optimizer.eval()  # the package's own way there
    assert not same(handed_out, taken_at)
    assert same(handed_out, weights_of(run))


def test_a_package_that_is_missing_is_asked_for_in_one_line(open_run, monkeypatch):
    monkeypatch.setattr("onefill.rl.optimizer_kinds.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"kind schedule-free: needs .*onefill\[optimizers\]"):
        open_run(optimizer={"kind": "schedule-free"})


@pytest.mark.parametrize("kind", ["drift", "kl"])
def test_a_penalty_holds_the_policy_near_its_reference(open_run, kind):
    gone = {}
    for weight in (0.0, 1e3):
        run = open_run(
            name=f"{kind}{weight}",
            penalty={"kind": kind, "weight": weight},
            monitor={"every": 6},
            step_range=[2, 2],
            **ONE_TASK,
        )
        for _ in range(6):
            take_step(run)
        gone[weight] = run.metrics.read("step")[-1]["drift"]
    assert gone[1e3] < 0.5 * gone[0.0]


def test_the_policy_has_gone_nowhere_before_its_first_update(open_run):
    run = open_run(penalty={"weight": 1.0}, **ONE_TASK)
    take_step(run)
    (row,) = run.metrics.read("step")
    assert row["drift"] == row["kl"] == 0


def test_the_divergence_is_that_of_two_gaussians_of_the_stochastic_sampler():
    """Flow-GRPO's step: mean and deviation written out, and torch's own divergence."""
    generator = torch.Generator().manual_seed(0)
    x, one, other = (torch.randn(2, 5, 8, generator=generator) for _ in range(3))
    sigma, after = torch.tensor(0.6), torch.tensor(0.45)
    length = sigma - after
    deviation = (sigma / (1 - sigma)).sqrt() * 0.7

    def drawn(velocity):
        mean = x * (1 - deviation**2 / (2 * sigma) * length)
        mean = mean - velocity * (1 + deviation**2 * (1 - sigma) / (2 * sigma)) * length
        return torch.distributions.Normal(mean, deviation * length.sqrt())

    expected = torch.distributions.kl_divergence(drawn(one), drawn(other)).mean()
    gone = distance(x - sigma * one, x - sigma * other, Partial(x, 3, sigma, after))
    assert gone.kl.item() == pytest.approx(expected.item(), rel=1e-4)
    assert gone.drift.item() == pytest.approx((one - other).square().mean().item(), rel=1e-4)


def test_what_a_shaken_policy_is_penalised_for_pulls_it_back(open_run):
    run = open_run(penalty={"weight": 1e4}, optimizer={"learning_rate": 1e-3}, **ONE_TASK)
    shake(run)
    losses = []
    for _ in range(5):
        run.cursor["fill"], run.step = 0, 0
        losses.append(take_step(run).loss)
    assert losses[-1] < losses[0]
