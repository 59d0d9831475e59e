"""What is kept between runs changes nothing but the time they take."""

from __future__ import annotations

import pytest
import torch

from onefill.errors import OnefillError
from onefill.rl.cache import DiskCache
from onefill.rl.loop import take_step

from .conftest import weights_of


def tensors(number):
    return {"a": torch.full((1000,), float(number)), "b": torch.tensor([number])}


def test_what_is_put_is_got_back_and_what_is_not_whole_is_not(tmp_path):
    cache = DiskCache(tmp_path / "kept", 10**6)
    cache.put("one", tensors(1))
    found = DiskCache(tmp_path / "kept", 10**6).get("one")
    assert found.keys() == {"a", "b"}
    assert all(torch.equal(found[name], t) for name, t in tensors(1).items())
    assert cache.get("two") is None

    (path,) = (tmp_path / "kept").iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert cache.get("one") is None
    path.write_bytes(b"")
    assert cache.get("one") is None


def test_the_longest_unused_makes_room(tmp_path):
    cache = DiskCache(tmp_path, 13_000)  # three of them
    for number in range(3):
        cache.put(str(number), tensors(number))
    assert cache.get("0") is not None
    cache.put("3", tensors(3))
    assert cache.get("1") is None
    assert all(cache.get(key) is not None for key in "023")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 13_000


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OnefillError, match=r"cache\.folder .*file: .*choose another folder"):
        DiskCache(tmp_path / "file", 100)


@pytest.mark.parametrize("reference", ["fixed", "dynamic"])
def test_cold_warm_and_off_are_the_same_to_the_bit(open_run, tmp_path, monkeypatch, reference):
    import onefill.rl.rollout

    settings = {"reference": reference, "batch_size": 2}

    def run_of(name, cache=None):
        run = open_run(name=name, cache=cache or {}, **settings)
        losses = [take_step(run).loss for _ in range(3)]
        return losses, weights_of(run)

    cache = {"folder": str(tmp_path / "kept")}
    off, cold = run_of("off"), run_of("cold", cache)
    painted, encoded = [], []
    stock = onefill.rl.rollout.painted
    monkeypatch.setattr(
        onefill.rl.rollout, "painted", lambda *args: painted.append(1) or stock(*args)
    )
    run = open_run(name="warm", cache=cache, **settings)
    encode = run.policy.encode
    run.policy.encode = lambda *args: encoded.append(1) or encode(*args)
    losses = [take_step(run).loss for _ in range(3)]
    warm = losses, weights_of(run)

    assert off[0] == cold[0] == warm[0]
    for name, weight in off[1].items():
        assert torch.equal(weight, cold[1][name]) and torch.equal(weight, warm[1][name])
    assert not encoded
    assert len(painted) == (0 if reference == "fixed" else 3)


def test_another_lambda_finds_the_images_and_another_seed_does_not(open_run, tmp_path):
    cache = {"folder": str(tmp_path / "kept")}

    def entries():
        return len(list((tmp_path / "kept").iterdir()))

    take_step(open_run(name="one", cache=cache))
    assert entries() == 2
    take_step(open_run(name="two", cache=cache, lam=0.5, loss="logistic"))
    assert entries() == 2
    take_step(open_run(name="three", cache=cache, seed=1))
    assert entries() == 4
    take_step(open_run(name="four", cache=cache, sampler_steps=3))
    assert entries() == 5  # the conditions are the same
