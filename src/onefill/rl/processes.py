"""Several processes that train one run: each computes a share of every batch.

A launcher starts the same command several times (``onefill train --processes``,
``accelerate launch``, ``torchrun``). Every process holds the whole model and makes the same draws
and the same updates, from gradients that are added up over all of them; the first alone writes and
speaks. Accelerate brings them together.

They only meet in ``gather`` and ``add_gradients``. Whoever fails says so in place of its next
answer, so that all of them end, with the one line that tells why. Where they share the weights too
(``onefill.rl.sharding``) they meet in every block of a model, where nothing can be said: whoever
fails then tells it itself, and the others find it gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

from onefill.errors import BadInput, OnefillError
from onefill.interrupt import Interrupted
from onefill.launched import Place, is_orphan, local_index, noticing, process_count

_BUCKET = 16 * 2**20
"""Gradients are added up so many numbers at a time."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass
class Sharding:
    """That processes share the frozen weights of a run.

    Attributes:
        reshard: let a block go between its forward and backward pass; False keeps it, for more
            memory and less traffic.
        begun: the weights are cut.
    """

    reshard: bool = True
    begun: bool = False


@dataclass(frozen=True)
class Processes(Place):
    """This process among all that train a run.

    Attributes:
        sharding: that they share the weights; None if each has them whole.
    """

    sharding: Sharding | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the weights are cut, so that all have to compute alike."""
        return self.sharding is not None and self.sharding.begun

    def tells(self, error: OnefillError) -> bool:
        """Whether this is the process that says what went wrong."""
        if isinstance(error, Interrupted):
            return False
        return self.is_first or (self.is_cut and not isinstance(error, _GoneError))

    def own_device(self, device: torch.device) -> torch.device:
        """``device``, and of several GPUs one for each process.

        Raises:
            BadInput: this machine has fewer GPUs than processes, or a device that cannot be shared.
        """
        if self.count == 1 or device.type == "cpu":
            return device
        if device.type != "cuda":
            raise BadInput(
                f"--device {device}: is for one process; leave --processes out, or --device cpu"
            )
        place = local_index()
        if place >= torch.cuda.device_count():
            raise BadInput(
                f"--device cuda: {torch.cuda.device_count()} GPUs here, and more processes; start "
                "as many processes as there are, or --device cpu"
            )
        return torch.device("cuda", place)

    def share(self, places: Sequence[range]) -> list[range]:
        """What this process computes of a batch that is cut into ``places``."""
        size = len(places) // self.count
        return list(places[self.index * size : (self.index + 1) * size])

    def gather(self, item: _Item) -> list[_Item]:
        """The item of every process, in their order; each gets all of them.

        Raises:
            OnefillError: a process has failed; what its error said.
        """
        return [item] if self.count == 1 else _exchange(item, None)

    def agree(self, asked: bool) -> bool:
        """Whether any process was asked something."""
        return any(self.gather(asked or is_orphan()))

    def spread(
        self,
        items: Sequence[_Item],
        do: Callable[[_Item], _Result],
        before: Callable[[_Item], None] = lambda item: None,
    ) -> list[_Result]:
        """``do`` every item, shared among the processes; each gets all results, in order.

        Where the weights are cut every process does all of them: items are not alike.

        Args:
            items: the same in every process.
            do: what is done with one; on the CPU, its result travels.
            before: called in every process before the next items are done, one for each process.
        """
        own = []
        if self.is_cut:
            for item in items:
                before(item)
                own.append(do(item))
            return own
        for begin in range(0, len(items), self.count):
            before(items[begin])
            if begin + self.index < len(items):
                own.append(do(items[begin + self.index]))
        found = self.gather(own)
        return [found[n % self.count][n // self.count] for n in range(len(items))]

    @contextmanager
    def meeting(self) -> Iterator[None]:
        """Wherever models compute: what is said if a block waits for a process in vain.

        Raises:
            OnefillError: another process is gone.
        """
        try:
            yield
        except RuntimeError as error:
            if self.is_cut and _is_broken(error):
                raise _GoneError from error
            raise

    @torch.no_grad()
    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each parameter's gradient by the sum over all processes.

        Raises:
            OnefillError: another process is gone.
        """
        if self.count == 1:
            return
        for bucket in _buckets([p.grad for p in parameters if p.grad is not None]):
            edges = [0]
            for gradient in bucket:
                edges.append(edges[-1] + gradient.numel())
            total = _reduce(torch.cat([gradient.flatten() for gradient in bucket]))
            for gradient, (begin, end) in zip(bucket, pairwise(edges), strict=True):
                gradient.copy_(total[begin:end].view_as(gradient))


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Find the others that were started with this one; while this lasts they are a run together.

    Raises:
        BadInput: the launcher was told to do what training cannot.
        OnefillError: another process is gone.
    """
    if process_count() == 1:
        yield Processes()
        return
    sharding = _read_sharding()
    state = _state()
    processes = Processes(state.process_index, state.num_processes, sharding)
    try:
        try:
            yield processes
        except Interrupted:  # which all agreed on
            processes.gather(None)
            raise
        except (_ToldError, _GoneError):
            raise
        except Exception as error:
            if processes.is_cut:
                raise
            _exchange(None, error)
        processes.gather(None)  # nobody leaves while another may still want something
    finally:
        state.destroy_process_group()


class _ToldError(OnefillError):
    """What went wrong in one process, as every process raises it."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class _GoneError(OnefillError):
    """Another process has ended without a word."""

    def __init__(self) -> None:
        super().__init__(
            "another process of this run is gone; the last checkpoint is whole: go on from it with "
            "--resume"
        )


def _read_sharding() -> Sharding | None:
    """What accelerate was told about weights; None if each process keeps them whole."""
    if _is_true("ACCELERATE_USE_DEEPSPEED"):
        raise BadInput(
            "accelerate is set to DeepSpeed, which onefill train does not use; FSDP 2 cuts frozen "
            "weights among the GPUs: set distributed_type: FSDP, fsdp_version: 2"
        )
    if not _is_true("ACCELERATE_USE_FSDP"):
        return None
    if os.environ.get("FSDP_VERSION") != "2":
        raise BadInput(
            "accelerate is set to the first version of FSDP; onefill train uses the second: set "
            "fsdp_version: 2"
        )
    if _is_true("FSDP_OFFLOAD_PARAMS"):
        raise BadInput(
            "accelerate is set to keep weights off the GPU, which onefill train does not; set "
            "fsdp_offload_params: false"
        )
    return Sharding(reshard=_is_true("FSDP_RESHARD_AFTER_FORWARD", otherwise="true"))


def _is_true(variable: str, otherwise: str = "") -> bool:
    """A flag of the launcher; accelerate's own parser fails on the strategy that one may hold."""
    return os.environ.get(variable, otherwise).lower() in {"true", "1", "full_shard"}


def _is_broken(error: RuntimeError) -> bool:
    """Whether it comes from a connection; torch has no class of its own for all of these."""
    return any(word in str(error).lower() for word in ("gloo", "nccl", "connection"))


def _exchange(item: Any, failure: Exception | None) -> list[Any]:
    from accelerate.utils import gather_object

    with noticing(_GoneError()):
        answers = gather_object([(item, _in_words(failure))])
    told = [words for _, words in answers if words is not None]
    if told:
        raise _ToldError(*told[0]) from failure
    return [answer for answer, _ in answers]


def _reduce(values: Tensor) -> Tensor:
    from accelerate.utils import reduce

    with noticing(_GoneError()):
        total: Tensor = reduce(values, reduction="sum")
    return total


def _in_words(failure: Exception | None) -> tuple[str, int] | None:
    if failure is None:
        return None
    if isinstance(failure, OnefillError):
        return str(failure), failure.exit_code
    return f"unexpected {type(failure).__name__}: {failure}", OnefillError.exit_code


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and size + gradient.numel() > _BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel()
    if bucket:
        yield bucket


def _state() -> Any:
    from accelerate import PartialState

    if torch.cuda.is_available():  # words travel by the CPU, gradients from where they are
        return PartialState(backend="cpu:gloo,cuda:nccl")
    return PartialState(cpu=True)
