"""A batch shared by several processes, as ``accelerate launch`` or ``torchrun`` starts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from onefill.errors import OnefillError
from onefill.launched import Place, local_index, noticing, process_count

_Item = TypeVar("_Item")


def own_device(device: str) -> str:
    """The device of this process: each of several takes a GPU of its own."""
    return f"{device}:{local_index()}" if device == "cuda" and process_count() > 1 else device


class Processes(Place):
    """This process among all that do a batch."""

    def share(self, items: Sequence[_Item]) -> list[_Item]:
        """What this process does of what there is, once all have seen what there is.

        Raises:
            OnefillError: another process is gone.
        """
        if self.count > 1:
            with noticing(_gone()):
                _wait()
        return list(items[self.index :: self.count])

    def gather(self, items: list[_Item]) -> list[_Item]:
        """What all processes have, in the order of the processes; each gets all of it.

        Raises:
            OnefillError: another process is gone.
        """
        if self.count == 1:
            return items
        from accelerate.utils import gather_object

        with noticing(_gone()):
            gathered: list[_Item] = gather_object(items)
        return gathered


@contextmanager
def join_processes() -> Iterator[Processes]:
    """This process's place; while this lasts, they can wait for one another."""
    if process_count() == 1:
        yield Processes()
        return
    state = _state()
    try:
        yield Processes(index=state.process_index, count=state.num_processes)
        # Whoever left at once could break off what another is still gathering. The last to wait
        # may find the others gone already, and misses nothing by it.
        with suppress(RuntimeError):
            _wait()
    finally:
        # Its threads must end before the interpreter does, which else aborts, whatever went wrong.
        state.destroy_process_group()


def _gone() -> OnefillError:
    return OnefillError(
        "another process of this batch has failed; what is written is whole: mend what it "
        "says, and the same line with --skip-existing goes on"
    )


def _state() -> Any:
    from accelerate import PartialState

    # Only words are exchanged, and they travel without a GPU.
    return PartialState(cpu=True)


def _wait() -> None:
    _state().wait_for_everyone()
