"""The command ``onefill judge-eval``: how often a judge is right, and where it is most wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onefill.cli import console
from onefill.cli.options import Device, JsonFlag, JudgeName, Offline, PairsTogether
from onefill.errors import BadInput

app = typer.Typer(add_completion=False)


@app.command()
def judge_eval(
    pairs: Annotated[
        Path,
        typer.Option(
            "--pairs", help="A jsonl file of pairs with winners, none of them trained on."
        ),
    ],
    judge_name: JudgeName = "pocket",
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The HTML page with diagrams and the worst mistakes."),
    ] = Path("judge-eval.html"),
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Report pairs that cannot be judged, and go on.")
    ] = False,
    batch: PairsTogether = 32,
    json_output: JsonFlag = False,
    device: Device = "auto",
    offline: Offline = False,
) -> None:
    """Say how often a judge agrees with known winners, by task, dimension and strength.

    Both orders are asked. The table is laid out like Table 1 of the OneReward paper.
    """
    if output.is_dir():
        raise BadInput(f"-o {output}: is a folder; name an html file")
    registry = console.open_registry()

    from onefill.judge.pairs_file import read_pairs

    read = read_pairs(pairs, registry)

    from onefill.cli.judge_views import progress
    from onefill.judge.accuracy import accuracy_table, answers, known
    from onefill.judge.asking import logits_of_pairs
    from onefill.judge.loading import load_judge
    from onefill.judge.pair import PreferencePair
    from onefill.judge.report import table_as_json, write_report
    from onefill.pocket.embedded import resolve

    labelled = known(read)
    if not labelled:
        raise BadInput(f'{pairs}: no pair in it says who won; add "winner" to its lines')
    judge = load_judge(resolve("judges", judge_name), device=device, offline=offline)
    skipped = 0

    def on_bad(pair: PreferencePair, error: BadInput) -> None:
        nonlocal skipped
        if not skip_bad:
            raise BadInput(f"{pairs} {error} (or give --skip-bad)")
        skipped += 1
        console.warn(f"{pairs} {error}; skipped")

    logits = []
    with progress(len(labelled)) as advance:
        last = None
        for found in logits_of_pairs(judge, labelled, registry, batch=batch, on_bad=on_bad):
            logits.append(found)
            if found.pair is not last:
                last = found.pair
                advance()
    if not logits:
        raise BadInput(f"{pairs}: not one of its pairs can be judged")
    rows = answers(logits, judge.calibration)
    table = accuracy_table(rows)
    judged = len(labelled) - skipped
    write_report(output, f"Judge {judge_name} on {judged} pairs of {pairs.name}", rows)
    if json_output:
        document = {"judge": judge_name, "pairs": judged, "skipped": skipped}
        console.print_json({**document, "report": str(output), **table_as_json(table)})
        return
    from onefill.cli.judge_tables import accuracy_tables

    out = console.stdout()
    for shown in accuracy_tables(table, judged):
        out.print(shown)
    unlabelled = len(read) - len(labelled)
    if unlabelled:
        console.say(f"{unlabelled} pairs without a winner were left out")
    console.say(f"the worst mistakes are in {output}")
