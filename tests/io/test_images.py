"""Every picture that people have arrives as the same upright sRGB array; every bad one as one sentence."""

import io
import os
import re
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from ostec.core.errors import ImageError, OutputError
from ostec.io import images

LOSSLESS = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
    "JPEG2000": {"irreversible": False},
    "PPM": {},
    "TGA": {},
}
LOSSY = {"JPEG": {"quality": 95, "subsampling": 0}, "AVIF": {"quality": 95}, "GIF": {}}


def gradient(height: int = 24, width: int = 40) -> np.ndarray:
    """An asymmetric smooth picture, [height, width, 3] uint8."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 2], axis=2).astype(np.uint8)


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_arrive_exactly_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "photo.dat", Image.fromarray(gradient()), format=name, **LOSSLESS[name])
    image = images.read_image(path)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, gradient().astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_formats_arrive_closely(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "photo.txt", Image.fromarray(gradient()), format=name, **LOSSY[name])
    assert np.abs(images.read_image(path) - gradient() / 255).mean() < 0.02


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation_is_read(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    path = tmp_path / "moving"
    frames[0].save(path, format=name, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(images.read_image(path), np.broadcast_to([1.0, 0, 0], (6, 8, 3)), atol=0.02)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = gradient()
    # What a camera held that way would store, so that the viewer's transformation brings it upright.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(images.read_image(path), upright.astype(np.float32) / np.float32(255))


def test_damaged_exif_does_not_lose_the_photo(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.fromarray(gradient()), exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff broken")
    assert images.read_image(path).shape == (24, 40, 3)


def test_grey_palette_one_bit_and_cmyk_agree_with_their_colours(tmp_path: Path) -> None:
    grey = Image.fromarray(gradient()[..., 0])
    expected = np.repeat(gradient()[..., :1].astype(np.float32) / 255, 3, axis=2)
    np.testing.assert_allclose(images.read_image(save(tmp_path / "l.png", grey)), expected, atol=1e-6)

    flat = Image.new("RGB", (4, 3), (200, 30, 60))
    colour = np.broadcast_to(np.array([200, 30, 60], np.float32) / 255, (3, 4, 3))
    palette = save(tmp_path / "p.png", flat.convert("P", palette=Image.Palette.ADAPTIVE))
    np.testing.assert_allclose(images.read_image(palette), colour, atol=1e-6)

    bits = Image.fromarray(np.array([[0, 255], [255, 255]], np.uint8)).convert("1")
    np.testing.assert_array_equal(images.read_image(save(tmp_path / "1.png", bits))[..., 2], [[0, 1], [1, 1]])

    for name, options in (("c.tif", {}), ("c.jpg", {"quality": 95})):  # Pillow writes JPEG inverted as Adobe does
        cmyk = save(tmp_path / name, flat.convert("CMYK"), **options)
        np.testing.assert_allclose(images.read_image(cmyk), colour, atol=0.02)


def test_transparency_shows_white(tmp_path: Path) -> None:
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[..., 0] = 255
    rgba[0, :, 3] = (0, 51, 255)
    expected = [[1, 1, 1], [1, 0.8, 0.8], [1, 0, 0]]
    image = images.read_image(save(tmp_path / "rgba.png", Image.fromarray(rgba)))
    np.testing.assert_allclose(image[0], expected, atol=1e-6)

    la = np.array([[[0, 0], [0, 255], [100, 255]]], np.uint8)
    image = images.read_image(save(tmp_path / "la.png", Image.fromarray(la, mode="LA")))
    np.testing.assert_allclose(image[0, :, 1], [1, 0, 100 / 255], atol=1e-6)

    keyed = Image.fromarray(np.array([[[9, 9, 9], [0, 0, 255]]], np.uint8))
    image = images.read_image(save(tmp_path / "keyed.png", keyed, transparency=(9, 9, 9)))
    np.testing.assert_allclose(image[0], [[1, 1, 1], [0, 0, 1]], atol=1e-6)

    indexed = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    indexed.putpalette([10, 20, 30, 255, 0, 0])
    image = images.read_image(save(tmp_path / "p.gif", indexed, transparency=0))
    np.testing.assert_allclose(image[0], [[1, 1, 1], [1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bit_grey_keeps_its_depth(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 1, 257], [1000, 32768, 65535]], np.uint16)
    image = images.read_image(save(tmp_path / name, Image.fromarray(values)))
    np.testing.assert_allclose(image[..., 1], values / 65535, atol=1e-7)


def test_sixteen_bit_colour_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[[0, 32768, 65535], [257, 1000, 60000]]], ">u2")
    path = tmp_path / "rgb48.png"
    rows = b"".join(b"\x00" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    np.testing.assert_allclose(images.read_image(path), values / 65535, atol=1 / 255)


def test_floating_and_32_bit_grey_find_their_white_point(tmp_path: Path) -> None:
    unit = np.array([[0.0, 0.25, 1.0], [np.nan, -1, 0.5]], np.float32)
    image = images.read_image(save(tmp_path / "f.tif", Image.fromarray(unit)))
    np.testing.assert_allclose(image[..., 0], [[0, 0.25, 1], [0, 0, 0.5]], atol=1e-7)
    image = images.read_image(save(tmp_path / "g.tif", Image.fromarray(np.array([[0, 51, 255]], np.float32))))
    np.testing.assert_allclose(image[0, :, 0], [0, 0.2, 1], atol=1e-6)
    image = images.read_image(save(tmp_path / "i.tif", Image.fromarray(np.array([[0, 65535]], np.int32))))
    np.testing.assert_allclose(image[0, :, 0], [0, 1], atol=1e-6)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("grey", [False, True])
def test_fewer_bits_in_a_16_bit_file_are_scaled_by_their_maximum(
    tmp_path: Path, ending: str, bits: int, grey: bool
) -> None:
    values = gradient().astype(np.uint16) * (2**bits - 1) // 255
    values = values[..., 0] if grey else values
    path = tmp_path / f"a.{ending}"
    assert cv2.imwrite(str(path), values if grey else values[..., ::-1])
    notes: list[str] = []
    image = images.read_image(path, notes=notes)
    expected = values / values.max()
    np.testing.assert_allclose(image, expected[..., None].repeat(3, 2) if grey else expected, atol=1 / 255)
    assert notes == [f"The photo's 16-bit values end at {values.max()} of 65535, so they were scaled by that."]


def test_brightened_pictures_are_turned_and_16_bits_that_are_used_stay(tmp_path: Path) -> None:
    values = gradient().astype(np.uint16) * 16
    notes: list[str] = []
    for factor, said in ((1, 1), (16, 1)):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(values[..., 0] * np.uint16(factor)).save(tmp_path / "a.png", exif=exif)
        image = images.read_image(tmp_path / "a.png", notes=notes)
        expected = np.rot90(values[..., 0], -1) / (values[..., 0].max() if factor == 1 else 65535 / 16)
        np.testing.assert_allclose(image[..., 0], expected, atol=1 / 255)
        assert len(notes) == said
    assert images.read_image(save(tmp_path / "b.png", Image.fromarray(np.zeros((2, 2), np.uint16)))).max() == 0


@pytest.mark.parametrize(("scale", "kind"), [(1, np.float32), (1, np.float64), (255, np.float32), (65535, np.float32)])
def test_floating_colours_of_a_tiff_are_read(tmp_path: Path, scale: float, kind: type) -> None:
    values = (gradient() / 255 * scale).astype(kind)
    values[0, 0] = 1.2 * scale  # brighter than white: no other white point
    assert cv2.imwrite(str(tmp_path / "f.tif"), values[..., ::-1])
    image = images.read_image(tmp_path / "f.tif")
    expected = gradient() / 255
    expected[0, 0] = 1
    np.testing.assert_allclose(image, expected, atol=1 / 255)


def test_heic_is_read_or_said_how_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(ImageError, match=r"a\.heic is a HEIC picture; install .*pip install 'ostec\[heif\]'\), or"):
            images.read_image(path)
    heif = pytest.importorskip("pillow_heif")
    with pytest.raises(ImageError, match=r"a\.heic "):
        images.read_image(path)
    heif.from_pillow(Image.fromarray(gradient())).save(str(path), quality=90)
    assert np.abs(images.read_image(path) - gradient() / 255).mean() < 0.02


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_frames_are_counted_and_read(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    path = tmp_path / "moving"
    frames[0].save(path, format=name, save_all=True, append_images=frames[1:])
    assert images.count_frames(path) == images.count_frames(path.read_bytes()) == 3
    for number in (2, 0, 1):
        expected = np.broadcast_to(np.eye(3)[number], (6, 8, 3))
        np.testing.assert_allclose(images.read_image(path, frame=number), expected, atol=0.05)
    assert images.count_frames(b"no picture") == 1


def test_a_further_frame_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    Image.new("RGB", (8, 6)).save(path, save_all=True, append_images=[Image.new("RGB", (80, 60))])
    assert images.read_image(path, max_megapixels=0.001).shape == (6, 8, 3)
    with pytest.raises(ImageError, match="has 80 x 60 pixels, more than"):
        images.read_image(path, max_megapixels=0.001, frame=1)


def test_colour_profile_is_applied_and_a_broken_one_ignored(tmp_path: Path) -> None:
    def swapped_profile() -> bytes:
        """An sRGB profile whose red and green primaries changed places, and whose name says so."""
        data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        tags = {bytes(data[o : o + 4]): o for o in range(132, 132 + 12 * struct.unpack(">I", data[128:132])[0], 12)}
        red, green = tags[b"rXYZ"], tags[b"gXYZ"]
        data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
        return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))

    picture = Image.new("RGB", (3, 2), (200, 30, 60))
    image = images.read_image(save(tmp_path / "swapped.png", picture, icc_profile=swapped_profile()))
    np.testing.assert_allclose(image[0, 0] * 255, [30, 200, 60], atol=3)
    image = images.read_image(save(tmp_path / "broken.png", picture, icc_profile=b"no profile at all"))
    np.testing.assert_allclose(image[0, 0] * 255, [200, 30, 60], atol=1e-4)
    grey = Image.new("L", (3, 2), 100)  # a profile for colour on a grey picture, as some editors write
    image = images.read_image(save(tmp_path / "grey.png", grey, icc_profile=swapped_profile()))
    np.testing.assert_allclose(image[0, 0] * 255, [100, 100, 100], atol=1e-4)


@pytest.mark.parametrize("name", [*LOSSLESS, *LOSSY])
def test_truncated_file_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(buffer, name, **{**LOSSLESS, **LOSSY}[name])
    path = tmp_path / "half.png"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(ImageError, match=r"half\.png is (damaged|not a picture)"):
        images.read_image(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", r"is empty\.$"), (b"Dear diary, today I wrote text.\n" * 9, r"is not a picture that can be read \(JPEG")],
)
def test_empty_and_text_files_are_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "mein Foto ü.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"mein Foto ü\.jpg " + reason):
        images.read_image(path)


def test_absent_folder_and_forbidden_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match=r"none\.jpg does not exist\.$"):
        images.read_image(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match=r"is a folder, not a picture\.$"):
        images.read_image(tmp_path)
    with pytest.raises(ImageError, match=r"cannot be read \(embedded null byte\)\.$"):
        images.read_image(tmp_path / "a\0.jpg")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.jpg").write_bytes(b"a")
    monkeypatch.setattr(Path, "open", refuse)  # the super-user may read everything, so that a real file cannot refuse
    with pytest.raises(ImageError, match=r"a\.jpg cannot be read \(permission denied\)\.$"):
        images.read_image(tmp_path / "a.jpg")


def png_header(width: int, height: int) -> bytes:
    data = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + data + struct.pack(">I", zlib.crc32(data)) + b"\0\0\1\0IDAT"


@pytest.mark.parametrize(("width", "height"), [(10001, 10000), (12000, 10000), (65000, 65000)])
def test_size_is_checked_in_the_header_before_decoding(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(width, height))  # there are no pixels to decode
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=r"huge\.png has .*more than 100 megapixels"):
            images.read_image(path)


def test_size_limit_is_the_callers(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (100, 100)))
    assert images.read_image(path, max_megapixels=0.01).shape == (100, 100, 3)
    with pytest.raises(ImageError, match=r"has 100 x 100 pixels, more than 0\.009 megapixels"):
        images.read_image(path, max_megapixels=0.009)


def test_writing_and_reading_every_8_bit_value_is_identity(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.float32).reshape(16, 16, 1).repeat(3, axis=2) / np.float32(255)
    path = tmp_path / "Über uns.png"
    images.write_png(path, values)
    np.testing.assert_array_equal(images.read_image(path), values)
    first = path.read_bytes()
    images.write_png(path, images.read_image(path))
    assert path.read_bytes() == first


def test_quantisation_rounds_half_up_and_clips() -> None:
    values = np.array([-1, 0, 0.49 / 255, 0.5 / 255, 254.49 / 255, 254.51 / 255, 1, 7], np.float32)
    assert images.to_bytes(values).tolist() == [0, 0, 0, 1, 254, 255, 255, 255]
    with pytest.raises(ValueError, match="got NaN"):
        images.to_bytes(np.array([np.nan], np.float32))


def test_jpeg_is_small_and_close() -> None:
    image = gradient().astype(np.float32) / 255
    data = images.encode_jpeg(image, quality=90)
    assert data[:3] == b"\xff\xd8\xff"
    assert np.abs(np.asarray(Image.open(io.BytesIO(data)), np.float32) / 255 - image).mean() < 0.03
    assert len(images.encode_jpeg(image, quality=20)) < len(data)


def test_palette_png_keeps_its_indices_and_colours(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 10], [2, 2, 3]], np.uint8)
    palette = np.random.default_rng(0).integers(0, 255, (11, 3), np.uint8)
    path = tmp_path / "map.png"
    images.write_palette_png(path, indices, palette)
    np.testing.assert_array_equal(images.read_palette_png(path), indices)
    np.testing.assert_array_equal(images.decode_palette_png(path.read_bytes(), "x"), indices)
    np.testing.assert_allclose(images.read_image(path), palette[indices] / 255, atol=1e-6)


def test_palette_png_refuses_what_does_not_fit(tmp_path: Path) -> None:
    palette = np.zeros((3, 3), np.uint8)
    with pytest.raises(ValueError, match="expected indices below 3, got 3"):
        images.write_palette_png(tmp_path / "a.png", np.full((2, 2), 3, np.uint8), palette)
    with pytest.raises(ValueError, match="uint8"):
        images.write_palette_png(tmp_path / "a.png", np.zeros((2, 2), np.int64), palette)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="palette of shape"):
        images.write_palette_png(tmp_path / "a.png", np.zeros((2, 2), np.uint8), palette[:, :2])
    images.write_png(tmp_path / "rgb.png", np.zeros((2, 2, 3), np.float32))
    with pytest.raises(ImageError, match="has no palette"):
        images.read_palette_png(tmp_path / "rgb.png")
    with pytest.raises(ImageError, match=r"x cannot be read"):
        images.decode_palette_png(b"no picture", "x")


def test_wrong_shapes_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a picture of shape \[H, W, 3\], got \(4, 4\)"):
        images.write_png(tmp_path / "a.png", np.zeros((4, 4), np.float32))
    with pytest.raises(OutputError, match=r"a\.png cannot be written \(No such file or directory\)"):
        images.write_png(tmp_path / "none" / "a.png", np.zeros((4, 4, 3), np.float32))


def test_area_resizing_averages_blocks() -> None:
    image = np.random.default_rng(0).random((8, 6, 2), np.float32)
    expected = image.reshape(4, 2, 3, 2, 2).mean((1, 3))
    np.testing.assert_allclose(images.resize_image(image, 3, 4), expected, atol=1e-6)


def test_lanczos_stays_in_range_and_keeps_a_constant() -> None:
    step = np.zeros((8, 8, 1), np.float32)
    step[:, 4:] = 1
    larger = images.resize_image(step, 32, 16, "lanczos")
    assert larger.shape == (16, 32, 1)
    assert larger.min() >= 0
    assert larger.max() <= 1
    constant = np.full((5, 7, 3), 0.3, np.float32)
    np.testing.assert_allclose(images.resize_image(constant, 11, 2, "lanczos"), 0.3, atol=1e-6)
    with pytest.raises(ValueError, match="got 0 x 2"):
        images.resize_image(constant, 0, 2)


def test_photos_in_a_folder_are_known_by_ending_or_content(tmp_path: Path) -> None:
    (tmp_path / "text.JPG").write_text("no photo", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no photo", encoding="utf-8")
    (tmp_path / "folder.png").mkdir()
    save(tmp_path / "no_ending", Image.new("RGB", (3, 3)), format="PNG")
    found = {path.name for path in tmp_path.iterdir() if images.is_image_file(path)}
    assert found == {"text.JPG", "no_ending"}


def test_bytes_are_decoded_as_the_file_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(gradient()))
    np.testing.assert_array_equal(images.decode_image(path.read_bytes(), "a"), images.read_image(path))
    for data, sentence in ((b"", r"^shard/a\.png is empty"), (b"text", r"^shard/a\.png is not a picture")):
        with pytest.raises(ImageError, match=sentence):
            images.decode_image(data, "shard/a.png")
    with pytest.raises(ImageError, match=r"^shard/a\.png has 40 x 24 pixels"):
        images.decode_image(path.read_bytes(), "shard/a.png", max_megapixels=0.0005)


HALVED: dict[str, tuple[str, dict[str, object]]] = {
    **{name: ("RGB", options) for name, options in {**LOSSLESS, **LOSSY}.items()},
    "PNG with alpha": ("RGBA", {}),
    "PNG of a palette": ("P", {}),
    "PNG of two colours": ("1", {}),
    "PNG of 16 bits": ("I;16", {}),
    "TIFF of floats": ("F", {}),
    "TIFF of CMYK": ("CMYK", {}),
}


@pytest.mark.parametrize("name", HALVED)
def test_larger_pictures_are_halved_while_they_are_decoded_and_others_are_not(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    mode, options = HALVED[name]
    picture = Image.fromarray(gradient(61, 99)).convert("L" if mode in ("I;16", "F") else "RGB").convert(mode)
    if mode in ("I;16", "F"):
        picture = Image.fromarray(
            (np.asarray(picture) * (257.0 if mode == "I;16" else 1 / 255)).astype("<u2" if mode == "I;16" else "f4")
        )
    path = save(tmp_path / "a", picture, format=name.split()[0], **options)
    whole = images.read_image(path)
    np.testing.assert_array_equal(images.read_image(path, whole_megapixels=61 * 99 / 1e6), whole)
    assert not caplog.records
    half = images.read_image(path, whole_megapixels=61 * 98 / 1e6)
    assert half.shape == (31, 50, 3)
    means = whole[:60, :98].reshape(30, 2, 49, 2, 3).mean((1, 3))
    assert np.abs(half[:30, :49] - means).mean() < (
        0.02 if name in {"JPEG2000", *LOSSY} or mode in ("1", "P") else 0.004
    )
    np.testing.assert_array_equal(images.decode_image(path.read_bytes(), "a", whole_megapixels=0.001), half)
    assert caplog.messages[0] == f"{path} has 99 x 61 pixels; it is read at half its width and height."


def test_a_dark_picture_of_16_bits_is_brightened_and_halved(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray((gradient(40, 60)[..., 0] * 16.0).astype("<u2")))
    notes: list[str] = []
    whole, half = images.read_image(path), images.read_image(path, whole_megapixels=0.001, notes=notes)
    assert whole.max() == 1
    assert len(notes) == 1
    assert np.abs(half - whole.reshape(20, 2, 30, 2, 3).mean((1, 3))).mean() < 0.004


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_halved_picture_is_upright(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a", Image.fromarray(gradient(40, 60)), format=name, exif=exif)
    whole, half = images.read_image(path), images.read_image(path, whole_megapixels=0.001)
    assert half.shape == (30, 20, 3)
    assert np.abs(half - whole.reshape(30, 2, 20, 2, 3).mean((1, 3))).mean() < 0.02


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_halved_webp_is_that_of_pillow(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(gradient(1101, 61)).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(gradient(1101, 61)[..., 1]))
    one = save(tmp_path / "a.webp", picture, quality=80)
    other = save(tmp_path / "b.png", Image.open(one))
    half, expected = (images.read_image(path, whole_megapixels=0.001) for path in (one, other))
    assert half.shape == (551, 31, 3)
    assert np.abs(half - expected).max() < 0.01
    one.write_bytes(one.read_bytes()[:-200])
    with pytest.raises(ImageError, match=r"a\.webp is damaged"):
        images.read_image(one, whole_megapixels=0.001)


def in_a_process(program: str, megabytes: int | None = None) -> subprocess.CompletedProcess[str]:
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({megabytes} << 20,) * 2)\n" if megabytes else ""
    begin = "import sys, numpy, PIL.Image, ostec.io.images as images\nfrom pathlib import Path\n"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, "-c", begin + limit + program]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("ending", "most_kb"), [("jpg", 800_000), ("webp", 1_000_000)])
def test_a_hundred_megapixels_take_little_memory(tmp_path: Path, ending: str, most_kb: int) -> None:
    path = save(tmp_path / f"a.{ending}", Image.new("RGB", (10_000, 10_000), (200, 30, 60)), quality=50)
    run = in_a_process(
        f"print(images.read_image(Path({str(path)!r}), whole_megapixels=25).shape)\n"
        "print(Path('/proc/self/status').read_text())"
    )
    assert run.stdout.startswith("(5000, 5000, 3)"), run.stderr
    (peak,) = re.findall(r"VmHWM:\s*(\d+) kB", run.stdout)  # ru_maxrss begins with that of the tests' process
    assert int(peak) < most_kb  # 1.6 GB if it is read whole


def test_where_memory_is_short_the_sentence_has_the_size(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (9000, 9000)), compress_level=1)
    run = in_a_process(
        "from ostec.core.errors import ImageError\n"
        f"try: images.read_image(Path({str(path)!r}))\n"
        "except ImageError as error: print(error)",
        megabytes=600,
    )
    assert "damaged" not in run.stdout
    assert re.search(
        r"a\.png cannot be read \(not enough memory for (9000 x 9000 pixels|[\d.]+ \wi?B)\)\.", run.stdout
    ), run
