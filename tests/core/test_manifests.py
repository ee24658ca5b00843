"""Manifests are read field by field, and nothing else passes."""

import pytest

from ostec.core.errors import AssetError
from ostec.core.manifests import MANIFEST_ERRORS, Manifest, ManifestFile, parse_manifest

DIGEST = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
TEXT = f"""
name = "toy"
purpose = "testing"
homepage = "https://example.org"
paper = "https://example.org/paper"
licence = "MIT (code); weights: others"
source = "by hand"
format = "bytes"
loader = "toy.read"
input = "nothing"
sign_up = "https://example.org/sign-up"
commercial_use = false
redistribution = true
any_of = true
face_model = "toyface"

[[files]]
name = "toy/a.bin"
sha256 = "{DIGEST}"
size = 3
url = "https://example.org/a"
mirrors = ["https://example.net/a"]
page = "https://example.org/a.html"

[[files]]
name = "toy/b.bin"
"""


def test_manifest_holds_every_field() -> None:
    first = ManifestFile(
        "toy/a.bin", DIGEST, 3, "https://example.org/a", ("https://example.net/a",), "https://example.org/a.html"
    )
    assert parse_manifest(TEXT) == Manifest(
        name="toy",
        purpose="testing",
        homepage="https://example.org",
        paper="https://example.org/paper",
        licence="MIT (code); weights: others",
        files=(first, ManifestFile("toy/b.bin")),
        source="by hand",
        format="bytes",
        loader="toy.read",
        input="nothing",
        sign_up="https://example.org/sign-up",
        commercial_use=False,
        redistribution=True,
        any_of=True,
        face_model="toyface",
    )


def test_addresses_are_in_order_and_names_short() -> None:
    first, second = parse_manifest(TEXT).files
    assert first.addresses == ("https://example.org/a", "https://example.net/a")
    assert second.addresses == ()
    assert (first.basename, second.basename) == ("a.bin", "b.bin")


def test_files_without_an_address_take_the_common_one() -> None:
    text = TEXT.replace("any_of = true", 'base_url = "https://example.com/c0ffee/"')
    first, second = parse_manifest(text).files
    assert first.url == "https://example.org/a"
    assert second.url == "https://example.com/c0ffee/b.bin"


def test_file_is_found_by_its_name_with_or_without_folders() -> None:
    manifest = parse_manifest(TEXT)
    assert manifest.file("toy/b.bin") is manifest.file("b.bin") is manifest.files[1]
    twice = parse_manifest(TEXT + '\n[[files]]\nname = "other/b.bin"\n')
    for name in ("b.bin", "c.bin"):
        with pytest.raises(AssetError, match=rf"^external/toy\.toml lists no file {name}\.$"):
            twice.file(name)
    assert twice.file("other/b.bin") is twice.files[2]


@pytest.mark.parametrize(
    ("licence", "short"), [("MIT (code); others", "MIT"), ("MIT; others", "MIT"), ("A, B: C", "A"), ("BSD-2", "BSD-2")]
)
def test_short_licence_is_its_name(licence: str, short: str) -> None:
    assert parse_manifest(TEXT.replace("MIT (code); weights: others", licence)).short_licence == short


def test_model_ships_if_nothing_leads_to_it_from_outside() -> None:
    bare = "\n".join(
        line for line in TEXT.splitlines() if not line.startswith(("url", "mirrors", "page", "sign_up", "any_of"))
    )
    assert parse_manifest(bare).ships
    assert parse_manifest('package = "toys"\n' + TEXT).ships
    for line in ('url = "https://a.org"', 'mirrors = ["https://a.org"]', 'page = "https://a.org"'):
        assert not parse_manifest(f"{bare}\n{line}").ships, line
    assert not parse_manifest('sign_up = "https://a.org"\n' + bare).ships


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('purpose = "testing"', "", "the field purpose is missing"),
        ('licence = "MIT', 'licence = 3 # "MIT', "licence is no text"),
        ("commercial_use = false", 'commercial_use = "no"', "commercial_use is neither true nor false"),
        ("any_of = true", "any_of = 1", "any_of is neither true nor false"),
        ("size = 3", "size = -3", "size of toy/a.bin is no number of bytes"),
        ("size = 3", "size = true", "size of toy/a.bin is no number of bytes"),
        (DIGEST, DIGEST.upper(), "sha256 of toy/a.bin is not 64 hexadecimal digits"),
        ('"toy/a.bin"', '"/toy/a.bin"', "'/toy/a.bin' is no path below a folder"),
        ('"toy/a.bin"', '"toy/../../a.bin"', "is no path below a folder"),
        ('"toy/a.bin"', '"toy\\\\a.bin"', "is no path below a folder"),
        ('"https://example.org/a"', '"file:///a"', "'file:///a' of toy/a.bin is no address"),
        ('["https://example.net/a"]', "[3]", "3 of toy/a.bin is no address"),
        ('["https://example.net/a"]', '"https://example.net/a"', "mirrors of toy/a.bin is no list"),
        ("[[files]]", "[[file]]", "the field files is missing"),
        ('name = "toy/b.bin"', "size = 3", "the field name of a file is missing"),
        (TEXT[TEXT.index("[[files]]") :], "files = 3", "files is no list of tables"),
        (TEXT[TEXT.index("[[files]]") :], 'files = ["a"]', "files is no list of tables"),
        ("[[files]]", "[[files", "Expected"),
    ],
)
def test_malformed_manifest_is_refused(old: str, new: str, reason: str) -> None:
    assert old in TEXT
    with pytest.raises(MANIFEST_ERRORS, match=reason):
        parse_manifest(TEXT.replace(old, new))
