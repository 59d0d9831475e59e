from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefill.errors import BadInput
from onefill.pairs.lettering import built_in_font, open_fonts, open_writing
from onefill.pocket.contests.misspelling import misspell


@given(
    st.text("abXYZ09 澳门", min_size=1, max_size=12).filter(
        lambda text: text.strip() == text != ""
    ),
    st.floats(0.05, 1),
    st.integers(0, 99),
)
def test_what_is_misspelt_is_wrong(words, strength, seed):
    text, mirrored = misspell(words, strength, ("SALE", "茶"), np.random.default_rng(seed))
    assert mirrored or text != words
    assert text == misspell(words, strength, ("SALE", "茶"), np.random.default_rng(seed))[0]


def test_faint_misspelling_leaves_most_letters():
    for seed in range(20):
        text, mirrored = misspell("ABCDEFGHIJ", 0.1, ("SALE",), np.random.default_rng(seed))
        assert not mirrored
        assert len(set(text) & set("ABCDEFGHIJ")) >= 9


def test_words_stand_in_the_region_and_nowhere_else():
    background = np.full((60, 120, 3), 0.5, np.float32)
    mask = np.zeros((60, 120), bool)
    mask[10:40, 20:100] = True
    faces = built_in_font().able("HI")
    write = open_writing(background, mask, "HI", faces, seed=1)
    written, mirrored, other = write("HI", False), write("OPEN", True), write("OPEN", False)
    for picture in (written, mirrored, other):
        assert np.array_equal(picture[~mask], background[~mask])
        assert np.abs(picture - background)[mask].max() > 0.3
    assert np.array_equal(written, open_writing(background, mask, "HI", faces, seed=1)("HI", False))
    assert not np.array_equal(mirrored, other)
    assert np.array_equal(write("", False), background)


def test_a_font_without_the_characters_is_not_used():
    assert built_in_font().able("OPEN 24")
    assert not built_in_font().able("茶")


def test_fonts_that_are_none(tmp_path):
    with pytest.raises(BadInput, match=r"no \.ttf"):
        open_fonts([tmp_path])
    bad = tmp_path / "bad.ttf"
    bad.write_text("no font")
    with pytest.raises(BadInput, match=r"--fonts .*bad\.ttf: no font"):
        open_fonts([bad])
    with pytest.raises(BadInput, match="no font"):
        open_fonts([tmp_path / "missing.ttf"])
