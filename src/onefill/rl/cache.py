"""Tensors kept on the disk between runs, and what of a step may be kept.

Two runs with the same seed and data draw the same samples and noises, whatever else differs. What
does not depend on the trained weights is then the same too: the conditions, and the images of a
fixed reference. One entry holds a whole batch, never a sample, since how many samples are computed
together may change the last bit of each; so a run is the same to the bit with the cache cold, warm
or off.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from onefill.errors import OnefillError
from onefill.policy.conditions import Conditions
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import SettledSampling
from onefill.rl.batch import Batch

_ENDING = ".tensors"
_PARTIAL = ".partial"


class DiskCache:
    """Named groups of tensors in one folder, the longest unused removed beyond a size.

    Args:
        folder: made if need be; several runs may share it.
        limit: bytes that all entries may take together.

    Raises:
        OnefillError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._size = sum(size for _, size, _ in self._entries())
        except OSError as error:
            raise _failure(folder, error) from error

    def get(self, key: str) -> dict[str, Tensor] | None:
        """What was put under ``key``; None if it is not there, or not whole."""
        path = self._folder / f"{key}{_ENDING}"
        try:
            content = path.read_bytes()
            path.touch()
        except OSError:
            return None  # never put, or removed by another run a moment ago
        digest, data = content[:32], content[32:]
        return load(data) if hashlib.sha256(data).digest() == digest else None

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep ``tensors`` under ``key``.

        Raises:
            OnefillError: they cannot be written.
        """
        data = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
        path = self._folder / f"{key}{_ENDING}"
        aside = path.with_name(f"{key}.{os.getpid()}{_PARTIAL}")
        try:
            aside.write_bytes(hashlib.sha256(data).digest() + data)
            aside.replace(path)
            self._size += len(data) + 32
            if self._size > self._limit:
                self._make_room()
        except OSError as error:
            raise _failure(self._folder, error) from error

    def _make_room(self) -> None:
        entries = self._entries()
        self._size = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if self._size <= self._limit:
                break
            path.unlink(missing_ok=True)
            self._size -= size

    def _entries(self) -> list[tuple[int, int, Path]]:
        """Time of last use, size and path of every entry, longest unused first."""
        found = []
        for ending in (_ENDING, _PARTIAL):
            for path in self._folder.glob(f"*{ending}"):
                with suppress(FileNotFoundError):  # another run has just removed it
                    status = path.stat()
                    found.append((status.st_mtime_ns, status.st_size, path))
        return sorted(found)


class Recall:
    """Computes conditions and reference images, or remembers them.

    Args:
        cache: where they are kept; None computes everything anew.
        policy: who computes them; as it was before training, since its hash is part of every key.
    """

    def __init__(self, cache: DiskCache | None, policy: FluxFillPolicy) -> None:
        self._cache = cache
        self._policy = policy
        self._made_by = (
            policy.fingerprint() if cache is not None else "",
            str(policy.dtype),
            policy.device.type,
            torch.__version__,
            str(torch.get_num_threads()),
        )

    def conditions(self, batch: Batch) -> Conditions:
        """What the policy is conditioned on for the samples of a batch."""
        if self._cache is None:
            return self._policy.encode(batch.images, batch.masks, batch.prompts)
        key = self._key("conditions", batch)
        height, width = batch.images.shape[-2:]
        if (found := self._cache.get(key)) is not None:
            here = {name: tensor.to(self._policy.device) for name, tensor in found.items()}
            for name in ("negative_embeds", "negative_pooled"):
                here[name] = here[name].expand(len(batch), *[-1] * (here[name].dim() - 1))
            return Conditions(**here, height=height, width=width)
        made = self._policy.encode(batch.images, batch.masks, batch.prompts)
        kept = {
            "prompt_embeds": made.prompt_embeds,
            "pooled": made.pooled,
            "negative_embeds": made.negative_embeds[:1],
            "negative_pooled": made.negative_pooled[:1],
            "masked_latents": made.masked_latents,
            "mask": made.mask,
        }
        self._cache.put(key, kept)
        return made

    def images(
        self, batch: Batch, noise: Tensor, sampler: SettledSampling, paint: Callable[[], Tensor]
    ) -> Tensor:
        """What ``paint`` makes of a batch with weights that never change.

        Args:
            batch: the samples.
            noise: that it begins from, [B, N, 4C].
            sampler: how it denoises.
            paint: computes the images.
        """
        if self._cache is None:
            return paint()
        seed = hashlib.sha256(noise.cpu().contiguous().numpy().tobytes()).hexdigest()
        key = self._key("images", batch, seed, repr(sampler))
        if (found := self._cache.get(key)) is not None:
            return found["images"].to(self._policy.device)
        images = paint()
        self._cache.put(key, {"images": images})
        return images

    def _key(self, kind: str, batch: Batch, *more: str) -> str:
        digest = hashlib.sha256()
        for part in (kind, *self._made_by, *batch.keys, *batch.prompts, *more):
            digest.update(f"{len(part)}:{part}".encode())
        return digest.hexdigest()


def _failure(folder: Path, error: OSError) -> OnefillError:
    reason = error.strerror or str(error)
    return OnefillError(
        f"cache.folder {folder}: {reason}; make room, choose another folder, or leave it out"
    )
