"""What is printed cannot move the cursor or break a line."""

from ostec.core.text import shown


def test_controls_and_bytes_that_are_no_text_are_escaped() -> None:
    assert shown("a\nb\x1b[1m\udcff ä") == "a\\nb\\x1b[1m\\udcff ä"
    assert shown("a\nb", keep="\n") == "a\nb"
