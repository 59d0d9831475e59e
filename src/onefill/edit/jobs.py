"""Many edits: one a line of a jsonl file, or one for each photograph of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onefill.edit.output import name_outputs
from onefill.edit.region import Region
from onefill.edit.request import EditRequest, choose_task
from onefill.errors import BadInput
from onefill.json_lines import read_json_lines
from onefill.tasks.registry import TaskRegistry

_PHOTOGRAPHS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_MASK_ENDINGS = ("-mask", "_mask")
_USUAL_NAME = "{stem}-{task}-{seed}.png"
_MOST_BYTES = 64 * 2**20
_EXAMPLE = '{"image": "a.jpg", "mask": "a-mask.png", "prompt": "straw hat"}'


@dataclass(frozen=True, kw_only=True)
class Job:
    """One edit of many.

    Attributes:
        name: how an error or a table names it: "jobs.jsonl line 3".
        request: what to do; its ``output`` is settled.
        outputs: the files it will write.
    """

    name: str
    request: EditRequest
    outputs: tuple[Path, ...]


_Number = Annotated[int | float | str, Field(union_mode="left_to_right")]


class _Place(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    mask: str | None = None
    box: str | list[_Number] | None = None
    polygon: str | list[list[_Number]] | None = None
    prompt: str | None = None

    def where(self) -> list[str]:
        """The keys among mask, box and polygon that are there."""
        return [key for key in ("mask", "box", "polygon") if getattr(self, key) is not None]


class _Line(_Place):
    image: str
    task: str | None = None
    text: str | None = None
    seed: int | None = Field(default=None, ge=0)
    n: int | None = Field(default=None, ge=1, le=1000)
    out: str | None = None
    regions: list[_Place] | None = None
    mask_alpha: str | None = None
    invert_mask: bool | None = None
    draw_mask: bool | None = None
    each_region: bool | None = None
    grow: int | float | str | None = None
    feather: int | None = Field(default=None, ge=0, le=2048)
    to: str | None = None
    expand: str | None = None
    anchor: str | None = None


def read_jobs(
    file: Path,
    usual: EditRequest,
    registry: TaskRegistry,
    *,
    task: str | None,
    folder: str,
    allow_outside: bool,
) -> list[Job]:
    """The edits of a jsonl file; every line is checked before any is returned.

    Relative paths of pictures are taken from the file's folder, ``out`` from the results' folder.

    Args:
        file: one JSON object a line.
        usual: what holds where a line says nothing; its image does not count.
        registry: the tasks.
        task: the task named for all lines, if one was.
        folder: where results go, or a pattern for them.
        allow_outside: let lines name pictures and results outside those two folders.

    Raises:
        BadInput: the file cannot be read or holds no line, or a line has a fault; it is named.
    """
    _check_length(file)
    jobs = []
    for number, row in read_json_lines(file, flag="--jobs"):
        where = f"{file} line {number}"
        line = _parse(row, where)
        try:
            jobs.append(
                _Reader(file, usual, registry, task, folder, allow_outside).job(line, where)
            )
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from error
    if not jobs:
        raise BadInput(f"{file}: holds no edit; write one a line, as {_EXAMPLE}")
    return _check_apart(jobs)


def folder_jobs(folder: Path, usual: EditRequest, *, output: str) -> list[Job]:
    """One edit for each photograph of a folder, in the order of their names.

    If the usual mask is a folder, a photograph's mask is the file in it of the same name, up to
    the suffix. If nothing says where to paint, it is the file beside it called ``<stem>-mask``
    or ``<stem>_mask``; such files are no photographs then.

    Args:
        folder: of photographs.
        usual: what holds for all of them; its image does not count.
        output: the results' folder, or a pattern for them.

    Raises:
        BadInput: the folder cannot be read, holds no photograph, or one has no mask.
    """
    files = _pictures(folder, flag="image")
    masks: dict[str, Path] | None = None
    if usual.mask is not None and usual.mask.is_dir():
        masks = {path.stem: path for path in reversed(_pictures(usual.mask, flag="--mask"))}
        where = f"in {usual.mask}"
    elif usual.draws_mask and not usual.draw_mask and not usual.enlarges:
        beside = {path.stem: path for path in reversed(files)}
        masks = {
            stem.removesuffix(ending): path
            for stem, path in beside.items()
            for ending in _MASK_ENDINGS
            if stem.endswith(ending) and stem != ending
        }
        files = [path for path in files if path not in masks.values()]
        where = "beside it, called <name>-mask"
    if not files:
        raise BadInput(f"image {folder}: holds no photograph; name a folder of PNG or JPEG files")
    jobs = []
    for path in files:
        request = replace(usual, image=path)
        if masks is not None:
            if path.stem not in masks:
                raise BadInput(
                    f"image {path}: has no mask {where}; give one, or name --mask FOLDER"
                )
            request = replace(request, mask=masks[path.stem])
        jobs.append(_settle(request, str(path), output))
    return _check_apart(jobs)


class _Reader:
    """Makes requests of lines."""

    def __init__(
        self,
        file: Path,
        usual: EditRequest,
        registry: TaskRegistry,
        task: str | None,
        folder: str,
        allow_outside: bool,
    ) -> None:
        self._home = file.parent
        self._usual = usual
        self._registry = registry
        self._task = task
        self._folder = folder
        self._allow_outside = allow_outside

    def job(self, line: _Line, where: str) -> Job:
        if line.text is not None and line.prompt is not None:
            raise BadInput('"text" and "prompt": both say what to write; leave one of them out')
        usual = self._usual
        enlarges = line.to is not None or line.expand is not None
        places = bool(line.where() or line.regions or line.draw_mask or line.mask_alpha)
        changes: dict[str, Any] = {
            "image": self._inside(line.image, "image"),
            "task": choose_task(
                self._registry,
                line.task or self._task,
                text=line.text,
                enlarges=enlarges or (usual.enlarges and not places),
            ),
            "invert": line.invert_mask,
            "seed": line.seed,
            "count": line.n,
            "feather": line.feather,
            "grow": None if line.grow is None else str(line.grow),
            "words": line.text or line.prompt,
            "mask_alpha": line.mask_alpha,
            "draw_mask": line.draw_mask,
            "each_region": line.each_region,
        }
        if line.prompt is not None or line.text is not None:
            changes["each_words"] = ()
        # What a line says of where to paint takes the place of all that was said for every line.
        if places or enlarges:
            usual = replace(
                usual,
                mask=None,
                regions=(),
                mask_alpha=None,
                draw_mask=False,
                to=None,
                expand=None,
                anchor=None,
            )
            changes |= self._places(line)
            changes |= {"to": line.to, "expand": line.expand}
        changes["anchor"] = line.anchor
        request = replace(usual, **{k: value for k, value in changes.items() if value is not None})
        return _settle(request, where, self._output(line.out))

    def _places(self, line: _Line) -> dict[str, Any]:
        regions = [self._region(line, key) for key in line.where()]
        for place in line.regions or ():
            if len(place.where()) != 1:
                raise BadInput('"regions": each has one of "mask", "box" and "polygon"')
            regions.append(replace(self._region(place, place.where()[0]), words=place.prompt))
        own = any(region.words is not None for region in regions)
        return {"regions": tuple(regions), "each_region": True if own else line.each_region}

    def _region(self, place: _Place, key: str) -> Region:
        if key == "mask":
            return Region(mask=self._inside(place.mask or "", "mask"))
        if key == "box":
            box = place.box
            return Region(box=box if isinstance(box, str) else ",".join(map(str, box or ())))
        polygon = place.polygon
        if isinstance(polygon, str):
            return Region(polygon=polygon)
        return Region(polygon=" ".join(",".join(map(str, xy)) for xy in polygon or ()))

    def _inside(self, name: str, key: str) -> Path:
        return _inside(self._home, name, f'"{key}": {name}', self._allow_outside)

    def _output(self, name: str | None) -> str:
        if name is None:
            return self._folder
        root = Path(_static_part(self._folder))
        path = _inside(root, name, f'"out": {name}', self._allow_outside)
        return f"{path}/" if name.endswith("/") else str(path)


def _inside(root: Path, name: str, where: str, allow_outside: bool) -> Path:
    path = root / name
    try:
        if not allow_outside and not path.resolve().is_relative_to(root.resolve()):
            raise BadInput(
                f"{where} lies outside {root.resolve().name or root}/; "
                "move it there, or give --allow-outside"
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(f"{where} is no path ({error})") from error
    return path


def _static_part(output: str) -> str:
    """The folder of an output, the part of a pattern before its first field."""
    if "{" not in output:
        return output
    return str(Path(output[: output.index("{")] + "x").parent)


def _settle(request: EditRequest, name: str, output: str) -> Job:
    """A job whose files have their names: no ``-2`` is added, so that they can be found again."""
    if "{" not in output and (output.endswith("/") or Path(output).is_dir()):
        output = f"{output.rstrip('/')}/{_USUAL_NAME}"
    request = replace(request, output=output)
    seeds = range(request.seed, request.seed + request.count)
    outputs = name_outputs(
        output, image=request.image, task=request.task.task.name, seeds=list(seeds)
    )
    return Job(name=name, request=request, outputs=tuple(outputs))


def _check_apart(jobs: Sequence[Job]) -> list[Job]:
    owners: dict[Path, str] = {}
    for job in jobs:
        for path in job.outputs:
            if path in owners:
                raise BadInput(
                    f"{job.name}: writes {path}, as does {owners[path]}; give it another "
                    'seed, or an "out" of its own'
                )
            owners[path] = job.name
    return list(jobs)


def _pictures(folder: Path, *, flag: str) -> list[Path]:
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in _PHOTOGRAPHS and not path.name.startswith(".")
        )
    except OSError as error:
        raise BadInput(f"{flag} {folder}: cannot be read ({error.strerror})") from error


def _check_length(file: Path) -> None:
    try:
        length = file.stat().st_size
    except (OSError, ValueError):
        return  # reading it will say so
    if length > _MOST_BYTES:
        raise BadInput(f"--jobs {file}: over {_MOST_BYTES // 2**20} MiB; split it")


def _parse(row: dict[str, Any] | str, where: str) -> _Line:
    if isinstance(row, str):
        raise BadInput(
            f"{where}: no JSON object ({row}); a jsonl file has one a line, as {_EXAMPLE}"
        )
    try:
        return _Line.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"][:2]) or "the line"
        if first["type"] == "extra_forbidden":
            known = ", ".join(_Line.model_fields)
            raise BadInput(f'{where}: "{key}" is no key; known are {known}') from error
        raise BadInput(f'{where}: "{key}": {first["msg"]}') from error
