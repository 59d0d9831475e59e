"""A few faults of the campaign; ``bench/fault_campaign.py`` has hundreds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "bench" / "fault_campaign.py"


def test_no_fault_loses_a_run():
    few = ["--kills", "1", "--corruptions", "1", "--full-disks", "2", "--json"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *few],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=600,
    )
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert done.returncode == 0
    assert sum(found["tally"]["kill"].values()) == 2
