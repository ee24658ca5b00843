"""What is printed cannot move the cursor or break a line."""

from ostec.core.text import align, counted, shown


def test_controls_and_bytes_that_are_no_text_are_escaped() -> None:
    assert shown("a\nb\x1b[1m\udcff ä") == "a\\nb\\x1b[1m\\udcff ä"
    assert shown("a\nb", keep="\n") == "a\nb"


def test_one_thing_is_singular() -> None:
    assert [counted(n, "photo") for n in (0, 1, 2)] == ["0 photos", "1 photo", "2 photos"]
    assert [counted(n, "copy is", "copies are") for n in (1, 2)] == ["1 copy is", "2 copies are"]


def test_a_wide_table_goes_on_below_behind_its_first_columns() -> None:
    cells = [["name", "n", *map(str, range(2, 40))], ["a", *map(str, range(139, 178))]]
    lines = align(cells, 1, 2)
    assert max(map(len, lines)) <= 100
    blocks = [block.splitlines() for block in "\n".join(lines).split("\n\n")]
    assert len(blocks) == 3
    for head, row in blocks:
        assert (head.split()[:2], row.split()[:2]) == (["name", "n"], ["a", "139"])
        assert len(head) == len(row)
    assert [cell for _, row in blocks for cell in row.split()[2:]] == [str(n) for n in range(140, 178)]
    assert align([["a", "b"], ["ccc", "1"]], 1) == ["a    b", "ccc  1"]
