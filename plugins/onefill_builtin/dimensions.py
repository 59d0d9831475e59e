"""What the judge is asked about generated content; fill, extend and text share these.

The names are the paper's (section 3.1); the sentences are ours, as the paper does not print its
query template. Changing one changes what a trained judge is asked: raise the template version
of ``onefill.judge.query`` with it.
"""

from __future__ import annotations

from onefill.tasks.types import Dimension

CONSISTENCY = Dimension(
    name="consistency",
    question="Does the painted area fit the rest of the picture in light, colour and texture, "
    "with no visible seam?",
)
STRUCTURE = Dimension(
    name="structure",
    question="Is everything in the painted area well formed, with no broken or doubled parts?",
)
TEXT_ALIGNMENT = Dimension(
    name="text-alignment",
    question="Does the painted area show what the prompt asks for?",
    uses_prompt=True,
)
AESTHETICS = Dimension(
    name="aesthetics",
    question="Is the picture pleasing to look at, clean and sharp?",
)
