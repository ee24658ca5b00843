"""What is printed cannot move the cursor or break a line."""

from ostec.core.text import counted, shown


def test_controls_and_bytes_that_are_no_text_are_escaped() -> None:
    assert shown("a\nb\x1b[1m\udcff ä") == "a\\nb\\x1b[1m\\udcff ä"
    assert shown("a\nb", keep="\n") == "a\nb"


def test_one_thing_is_singular() -> None:
    assert [counted(n, "photo") for n in (0, 1, 2)] == ["0 photos", "1 photo", "2 photos"]
    assert [counted(n, "copy is", "copies are") for n in (1, 2)] == ["1 copy is", "2 copies are"]
