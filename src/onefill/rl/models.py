"""The models of a run: the judges that are asked, and what of the policy is trained."""

from __future__ import annotations

from onefill.errors import BadInput
from onefill.judge.loading import load_judge
from onefill.judge.model import Judge
from onefill.policy.fingerprint import hash_weights
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.rl.config import RunConfig
from onefill.rl.ingredients import Ingredients
from onefill.rl.randomness import Purpose, draw_seed


def load_judges(config: RunConfig, ingredients: Ingredients, device: str) -> list[Judge]:
    """The judge that a run asks, and those that are asked beside it.

    Raises:
        BadInput: one cannot be loaded, or was trained to see more than training shows.
    """
    judges = []
    names = (config.judge, *config.reward.judges)
    for name, model in zip(names, (ingredients.judge, *ingredients.more_judges), strict=True):
        judge = load_judge(model, device=device, dtype=config.dtype, offline=ingredients.offline)
        if judge.sees:
            # The loop shows it the two results only, which is not what it learned from.
            raise BadInput(
                f"--judge {name}: it was trained to see the {' and the '.join(judge.sees)} of "
                "an edit too, which training does not show; train one without --show"
            )
        judges.append(judge)
    return judges


def judge_fingerprints(judges: list[Judge]) -> dict[str, str]:
    """Hashes of the judges' weights, by the names that a checkpoint gives them."""
    hashes = [hash_weights(sorted(judge.model.state_dict().items())) for judge in judges]
    return {"judge" if n == 0 else f"judge-{n + 1}": value for n, value in enumerate(hashes)}


def make_trainable(policy: FluxFillPolicy, config: RunConfig) -> None:
    """Put a fresh adapter on the policy, or let all its weights be trained.

    Raises:
        BadInput: the adapter's targets are no layers of this model.
    """
    if config.train == "full":
        policy.train_full()
        return
    lora = config.lora
    seed = draw_seed(config.seed, Purpose.ADAPTER)
    try:
        policy.add_lora(lora.rank, lora.alpha, seed, lora.targets)
    except ValueError as error:
        if lora.targets is None:
            raise
        raise BadInput(
            f"lora.targets {lora.targets}: no layer of this model ends so; try [to_q, to_k, to_v]"
        ) from error
