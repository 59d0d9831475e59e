"""Rows of somebody else's pairs: a jsonl file, parquet files, or a Hugging Face dataset."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from onefill.errors import BadInput, OnefillError

Layout = Literal["jsonl", "parquet", "hf"]
LAYOUTS: tuple[Layout, ...] = ("jsonl", "parquet", "hf")

Row = dict[str, Any]

_BATCH = 64


def guess_layout(name: str) -> Layout:
    """What a file or dataset called ``name`` is.

    Raises:
        BadInput: a file whose name does not tell.
    """
    path = Path(name)
    if path.is_dir() and any(path.glob("**/*.parquet")):
        return "parquet"
    if path.suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    if path.suffix == ".parquet":
        return "parquet"
    if path.is_file():
        raise BadInput(
            f"{name}: ends in {path.suffix or 'nothing'}; say how it is stored, as --layout jsonl"
        )
    return "hf"


def read_table(name: str, layout: Layout, split: str) -> Iterator[tuple[str, Row]]:
    """Each row with where it stands, for messages; pictures of a dataset stay encoded.

    Args:
        name: a file, for parquet also a folder of them, or for hf a dataset's id or folder.
        layout: how it is stored.
        split: of a Hugging Face dataset.

    Raises:
        BadInput: it is not there or not of this layout, or the library for it is missing.
        OnefillError: the dataset could not be fetched.
    """
    if layout == "hf":
        return _read_dataset(name, split)
    path = Path(name)
    if not path.exists():
        raise BadInput(f"{name}: no such file; for a Hugging Face dataset give --layout hf")
    return _read_jsonl(path) if layout == "jsonl" else _read_parquet(path)


def _read_jsonl(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                where = f"{path} line {number}"
                try:
                    row = json.loads(line.decode("utf-8-sig"))
                except ValueError as error:
                    raise BadInput(
                        f"{where}: not JSON ({error}); write one object a line"
                    ) from error
                if not isinstance(row, dict):
                    raise BadInput(f"{where}: not a JSON object; write one a line")
                yield where, row
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); name a jsonl file") from error


def _read_parquet(path: Path) -> Iterator[tuple[str, Row]]:
    parquet = _library("pyarrow.parquet", "parquet files")
    files = sorted(path.glob("**/*.parquet")) if path.is_dir() else [path]
    if not files:
        raise BadInput(f"{path}: no .parquet file in it; name a file or another folder")
    for file in files:
        number = 0
        try:
            for batch in parquet.ParquetFile(file).iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file} row {number}", row
        # pyarrow's own errors are ValueError and OSError underneath.
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise BadInput(
                f"{file}: cannot be read as parquet ({reason}); fetch it again"
            ) from error


def _read_dataset(name: str, split: str) -> Iterator[tuple[str, Row]]:
    datasets = _library("datasets", "Hugging Face datasets")
    try:
        rows = datasets.load_dataset(name, split=split, streaming=True)
        for column, feature in (rows.features or {}).items():
            if isinstance(feature, datasets.Image):
                rows = rows.cast_column(column, datasets.Image(decode=False))
        for number, row in enumerate(rows, 1):
            yield f"{name} row {number}", row
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{name}: {reason}; check the name and --split {split}") from error
    # The library raises errors of a dozen kinds; all of them mean that there is no data.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise OnefillError(f"{name}: the dataset cannot be read ({reason})") from error


def _library(module: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BadInput(
            f"reading {what} needs {module.partition('.')[0]}; install it with "
            "`pip install 'onefill[import]'`"
        ) from error
