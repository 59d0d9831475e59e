"""The defaults of a run, so light that ``onefill train --help`` can show them.

They suit the embedded models: a whole run, loading and measuring included, takes less than ten
minutes on two CPU cores.
"""

from __future__ import annotations

from typing import Literal

TASKS = {"fill": 2.0, "extend": 1.0, "removal": 1.0}
STEPS = 80
SEED = 0
REFERENCE: Literal["fixed", "dynamic"] = "fixed"
LAM = 0.75
TAU = 0.95
STEP_RANGE: list[int] | list[float] = [0.4, 0.9]
BATCH_SIZE = 8
TASKS_PER_STEP = 1
LORA_RANK = 16
LORA_ALPHA = 16.0
LEARNING_RATE = 6e-4
WARMUP = 5
EVALUATION_EVERY = 0
EVALUATION_SCENES = 32
SHEET_EVERY = 40
SHEET_ROWS = 4
CHECKPOINT_EVERY = 20
CHECKPOINT_KEEP = 3
MONITOR_EVERY = 20
MONITOR_SCENES = 4
MODEL = "pocket"
JUDGE = "pocket"
