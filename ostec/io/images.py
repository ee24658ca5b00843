"""Pictures to arrays and back. The only module that knows Pillow.

What Pillow reads with 16 bits per colour channel arrives with 8 (its modes hold no more); 16-bit grey keeps its depth.
"""

import io
import logging
import math
import re
import warnings
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image, ImageCms, ImageColor, TiffImagePlugin, UnidentifiedImageError

from ostec.core.errors import ImageError, kind_of, out_of_memory
from ostec.core.plain import open_plain, read_plain
from ostec.core.types import ByteArray, FloatArray
from ostec.io.files import write_atomic

logger = logging.getLogger(__name__)

# TGA comes last: it has no magic number, so that it may only have what nobody else recognised.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "TGA")
_ENDINGS = """jpg jpeg jpe jfif mpo png apng webp tif tiff bmp dib gif avif avifs
    jp2 j2k jpx jpf j2c jpc ppm pgm pbm pnm pfm tga icb vda vst"""
IMAGE_SUFFIXES = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""Endings, in lower case, of files that are taken for photos whatever they hold."""

_ORIENTATION = 0x0112  # EXIF tag
_TURNS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
"""Names in Pillow of what orientations 2 to 8 ask for."""
_FILTERS = {"area": "BOX", "bilinear": "BILINEAR", "lanczos": "LANCZOS"}
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
_MAX_RADIANCE_BYTES = 256 << 20
_MAX_RADIANCE_MEGAPIXELS = 64
_MAX_RADIANCE_HEAD = 1 << 16
_RADIANCE_SIZE = re.compile(rb"\n[-+]Y +(\d{1,9}) +[-+]X +(\d{1,9})\n")
_SAMPLE_FORMAT, _FLOATING = 339, 3  # TIFF tag, and its value for floating numbers
_DARK_PEAK = 16383
"""16-bit pictures without a brighter value hold at most 14 bits."""
_STRIP = 512
"""Rows, an even number, that are converted at once."""
_PROFILE_SPACES = {"RGB": "RGB", "CMYK": "CMYK", "L": "GRAY"}


def read_image(
    path: Path,
    max_megapixels: float = 100.0,
    whole_megapixels: float = math.inf,
    frame: int = 0,
    notes: list[str] | None = None,
) -> FloatArray:
    """Read a photo: turned as its EXIF says, in sRGB, transparent parts on white.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000, PPM or TGA, recognised by content, not by name; HEIC
            where pillow-heif is installed.
        max_megapixels: larger pictures are refused before they are decoded (Pillow itself stops at about 179).
        whole_megapixels: larger pictures are read at half their width and height, which takes far less memory.
        frame: of several, which, from 0.
        notes: gets a sentence if the picture was brightened.

    Returns [H, W, 3] RGB in [0, 1]. Raises ImageError if the file is missing, unreadable, no picture, damaged or too
    large.
    """
    path = Path(path)
    try:
        with open_plain(path) as stream:
            return _decode(stream, str(path), max_megapixels, whole_megapixels, frame, notes)
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist.") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path} is a folder, not a picture.") from error
    except PermissionError as error:
        raise ImageError(f"{path} cannot be read (permission denied).") from error
    except ValueError as error:  # a zero in the name
        raise ImageError(f"{path} cannot be read ({error}).") from error
    except OSError as error:
        raise ImageError(f"{path} is damaged and cannot be read ({error or type(error).__name__}).") from error


def decode_image(
    data: bytes,
    name: str,
    max_megapixels: float = 100.0,
    whole_megapixels: float = math.inf,
    frame: int = 0,
    notes: list[str] | None = None,
) -> FloatArray:
    """Decode the bytes of a file as :func:`read_image` does; errors call it ``name``."""
    return _decode(io.BytesIO(data), name, max_megapixels, whole_megapixels, frame, notes)


def count_frames(file: Path | bytes) -> int:
    """How many frames a picture has; 1 where that cannot be told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with io.BytesIO(file) if isinstance(file, bytes) else open_plain(file) as stream:
                return getattr(Image.open(stream), "n_frames", 1)
        except Exception:  # whatever a decoder trips over in the further ones, the first could be read
            logger.debug("frames that cannot be counted", exc_info=True)
            return 1


def _decode(
    stream: BinaryIO, name: str, max_megapixels: float, whole_megapixels: float, frame: int, notes: list[str] | None
) -> FloatArray:
    """Whatever Pillow trips over is an ImageError, and what it only warns of is none."""
    size = "it"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about what is handled here (size, odd EXIF)
        try:
            picture = _open(stream, name, max_megapixels, frame)
            size = f"{picture.width} x {picture.height} pixels"
            picture = _brightened(picture, stream, notes)
            if picture.width * picture.height > whole_megapixels * 1e6:
                logger.warning("%s has %s; it is read at half its width and height.", name, size)
                picture = _halved(picture, stream)
            else:
                picture.load()
                picture = _turn_upright(picture, _orientation(picture))
            return _to_rgb(picture)
        except ImageError:
            raise
        except MemoryError as error:
            raise ImageError(f"{name} cannot be read ({out_of_memory(error, size)}).") from error
        except Exception as error:  # whatever a decoder trips over, the picture is damaged
            raise ImageError(f"{name} is damaged and cannot be read ({error or type(error).__name__}).") from error


def _open(stream: BinaryIO, path: str, max_megapixels: float, frame: int) -> Image.Image:
    """Read the header only, and refuse what is no picture or too large."""
    if not stream.read(1):
        raise ImageError(f"{path} is empty.")
    try:
        stream.seek(0)
        picture: Image.Image = Image.open(stream, formats=_FORMATS)
    except UnidentifiedImageError as error:
        picture = _open_otherwise(stream, path, max_megapixels, error)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} has more than {max_megapixels:g} megapixels.") from error
    for number in sorted({0, frame}):
        picture.seek(number)
        width, height = picture.size
        if width * height > max_megapixels * 1e6:
            found = f"{path} has {width} x {height} pixels"
            raise ImageError(f"{found}, more than {max_megapixels:g} megapixels; please make it smaller.")
    return picture


def _open_otherwise(stream: BinaryIO, path: str, max_megapixels: float, error: UnidentifiedImageError) -> Image.Image:
    """Open what Pillow alone does not: HEIC, and TIFF of floating colours. Raises ImageError."""
    stream.seek(0)
    head = stream.read(16)
    stream.seek(0)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        try:
            import pillow_heif
        except ImportError:
            raise ImageError(
                f"{path} is a HEIC picture; install what reads it (pip install 'ostec[heif]'), or save it as JPEG."
            ) from error
        pillow_heif.register_heif_opener()
        return Image.open(stream, formats=("HEIF",))
    if head[:4] in (b"II*\0", b"MM\0*"):
        tags = TiffImagePlugin.ImageFileDirectory_v2(head[:8])
        stream.seek(tags.next)
        tags.load(stream)
        if tags.get(_SAMPLE_FORMAT, (0,))[0] == _FLOATING and tags[256] * tags[257] <= max_megapixels * 1e6:
            values = _decode_deep(stream)
            if values is not None:
                return _of_deep(values, _white_of(values))
    raise ImageError(
        f"{path} is not a picture that can be read (JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000, PPM, TGA)."
    ) from error


def _decode_deep(stream: BinaryIO) -> np.ndarray | None:
    """The colours [H, W, 3] of a PNG or TIFF, RGB in the numbers that it has; None if there are none."""
    import cv2

    stream.seek(0)
    values = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3 or values.shape[2] not in (3, 4):
        return None
    return np.nan_to_num(values[..., 2::-1], nan=0.0, posinf=0.0, neginf=0.0)


def _of_deep(values: np.ndarray, white: float) -> Image.Image:
    return Image.fromarray(to_bytes(np.clip(values / white, 0, 1).astype(np.float32)))


def _brightened(picture: Image.Image, stream: BinaryIO, notes: list[str] | None) -> Image.Image:
    """A picture of 16 bits, as bright as it can be if it uses the lower ones alone, as the 12 bits of cameras do."""
    if ";16" not in f"{picture.mode} {getattr(picture, 'tile', '')}":
        return picture
    values: np.ndarray | None = None
    if picture.mode.startswith("I"):
        values = np.asarray(picture)
    elif picture.mode.startswith("RGB") and np.max(picture.getextrema()[:3]) <= _DARK_PEAK >> 8:
        values = _decode_deep(stream)
    peak = 0 if values is None else int(values.max(initial=0))
    if values is None or not 0 < peak <= _DARK_PEAK:
        return picture
    made = _of_deep(values, peak)
    made.info = picture.info
    made.getexif()[_ORIENTATION] = _orientation(picture)
    if notes is not None:
        notes.append(f"The photo's 16-bit values end at {peak} of 65535, so they were scaled by that.")
    return made


def is_image_file(path: Path) -> bool:
    """Tell whether a file found in a folder is meant as a photo: by its ending, or by its content.

    A text file called ``.jpg`` counts (reading it then says what is wrong), one called ``.txt`` does not.
    """
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return path.is_file()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with open_plain(path) as stream, Image.open(stream, formats=_FORMATS[:-1]):
                return True
        except Image.DecompressionBombError:
            return True
        except (OSError, ValueError, SyntaxError):  # what Pillow raises for headers that are none
            return False


def _halved(picture: Image.Image, stream: BinaryIO) -> Image.Image:
    """A picture whose pixels have not been read, upright, with a mean in place of each square of four of them."""
    size = picture.size
    if picture.format == "WEBP" and getattr(picture, "n_frames", 1) == 1:
        return _turn_upright(_halved_webp(picture, stream), _orientation(picture))
    picture.draft(None, (size[0] // 2, size[1] // 2))  # decodes a JPEG so
    if picture.format == "JPEG2000":
        picture.reduce = 1  # type: ignore[method-assign,assignment]
    picture.load()
    turn = _orientation(picture)
    if picture.size != size:
        return _turn_upright(picture, turn)
    if picture.mode.startswith("I") or picture.mode == "F":
        small = picture.convert("F").reduce(2)
        return _turn_upright(small if picture.mode == "F" else small.convert("I"), turn)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
    elif picture.mode in ("1", "P"):
        picture = picture.convert("RGB")
    return _turn_upright(picture.reduce(2), turn)


def _halved_webp(picture: Image.Image, stream: BinaryIO) -> Image.Image:
    """The same of a WebP: Pillow's decoder has every picture three times in memory, as an animation of one frame."""
    import cv2

    stream.seek(0)
    data = np.frombuffer(stream.read(), np.uint8)
    values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if values is None:
        raise OSError("its pixels cannot be decoded")
    channels = [2, 1, 0, 3][: values.shape[2]]
    strips = (Image.fromarray(values[row : row + _STRIP, :, channels]) for row in range(0, len(values), _STRIP))
    made = Image.fromarray(np.concatenate([np.asarray(strip.reduce(2)) for strip in strips]))
    made.info = picture.info
    return made


def _orientation(picture: Image.Image) -> Any:
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF parsers raise anything, and the pixels are fine
        logger.debug("unreadable EXIF data", exc_info=True)
        return 1


def _turn_upright(picture: Image.Image, orientation: Any) -> Image.Image:
    """Apply the EXIF orientation; a picture with an unknown one stays as it is."""
    return picture.transpose(Image.Transpose[_TURNS[int(orientation) - 2]]) if orientation in range(2, 9) else picture


def _to_rgb(picture: Image.Image) -> FloatArray:
    """Convert any of Pillow's modes to [H, W, 3] sRGB in [0, 1]."""
    if picture.mode.startswith("I") or picture.mode == "F":
        grey = _scale_deep_grey(np.asarray(picture), picture.mode)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"), np.float32)[..., None] / np.float32(255)
        rgb = _through_profile(rgba.convert("RGB"), picture.info.get("icc_profile"))
        image = _as_float(rgb)
        image *= alpha
        image += 1 - alpha  # on white, as viewers show it
        return image
    if picture.mode not in _PROFILE_SPACES:
        picture_rgb = picture.convert("RGB")
        picture_rgb.info = picture.info
        picture = picture_rgb
    picture = _through_profile(picture, picture.info.get("icc_profile"))
    return _as_float(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _as_float(picture: Image.Image) -> FloatArray:
    image = np.empty((picture.height, picture.width, 3), np.float32)
    for row in range(0, len(image), _STRIP):  # the bytes of a large picture would be another quarter of its memory
        strip = image[row : row + _STRIP]
        strip[:] = np.asarray(picture.crop((0, row, picture.width, row + len(strip))))
    image /= np.float32(255)
    return image


def _scale_deep_grey(values: np.ndarray, mode: str) -> FloatArray:
    """Bring 16-bit, 32-bit or floating grey [H, W] into [0, 1]; Pillow's mode does not tell the white point."""
    grey = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    white = _white_of(grey) if mode == "F" else 65535.0 if grey.max(initial=0.0) <= 65535 else 2.0**31 - 1
    return np.clip(grey / white, 0, 1).astype(np.float32)


def _white_of(values: np.ndarray) -> float:
    """The white point of floating values: 1, 255 or 65535, the first that few exceed."""
    bright = float(np.quantile(values, 0.99)) if values.size > 1000 else float(values.max(initial=0.0))
    return 1.0 if bright <= 1 else 255.0 if bright <= 255 else 65535.0


def _through_profile(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to sRGB where the file carries another colour profile that fits its channels."""
    if not profile:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _PROFILE_SPACES[picture.mode]:
            return picture
        if "srgb" in (source.profile.profile_description or "").lower():
            return picture
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        logger.debug("unreadable colour profile", exc_info=True)
        return picture
    return picture if converted is None else converted


def as_picture(value: object) -> FloatArray:
    """A program's picture as [H, W, 3] RGB float32 in [0, 1]; an array that is so already comes back as it is.

    Args:
        value: a PIL image; or a NumPy array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] (RGBA, laid on white); or a
            PyTorch tensor like that or with its channels first; uint8, or floating point in [0, 1].

    Raises TypeError for anything else or other numbers, ValueError for other shapes or values outside [0, 1].
    """
    if isinstance(value, Image.Image):
        return _to_rgb(_turn_upright(value, _orientation(value)))
    if hasattr(value, "detach"):  # a tensor, without importing PyTorch
        planes: np.ndarray = value.detach().cpu().numpy()
        first = planes.ndim == 3 and planes.shape[0] in (1, 3, 4) and planes.shape[2] not in (1, 3, 4)
        value = np.ascontiguousarray(planes.transpose(1, 2, 0)) if first else planes
    if not isinstance(value, np.ndarray):
        raise TypeError(f"expected a path, bytes, a PIL image, an array or a tensor, got {kind_of(value)}")
    if value.ndim == 2:
        value = value[..., None]
    if value.ndim != 3 or value.shape[2] not in (1, 3, 4) or not value.size:
        raise ValueError(f"expected an image [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], got the shape {value.shape}")
    if value.dtype == np.uint8:
        value = value.astype(np.float32) / np.float32(255)
    elif not np.issubdtype(value.dtype, np.floating):
        raise TypeError(f"expected an image of uint8 or of floats in [0, 1], got {value.dtype}")
    low, high = float(value.min()), float(value.max())
    if not (low >= 0 and high <= 1):  # NaN too
        raise ValueError(f"expected floats in [0, 1], got {low:g} to {high:g}; hand 0 to 255 over as uint8")
    picture: FloatArray = value.astype(np.float32, copy=False)
    if picture.shape[2] == 4:
        return picture[..., :3] * picture[..., 3:] + (1 - picture[..., 3:])
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture


def as_pil(image: FloatArray) -> Image.Image:
    """A PIL image of [H, W, 3] RGB in [0, 1]."""
    return Image.fromarray(to_bytes(image))


def named_colour(name: str) -> tuple[float, float, float]:
    """RGB in [0, 1] of a colour's name in HTML, as white, or #rrggbb. Raises ValueError for a name that is none."""
    red, green, blue = ImageColor.getrgb(name)[:3]
    return red / 255, green / 255, blue / 255


def read_radiance(path: Path) -> FloatArray:
    """Read a picture of linear light, [H, W, 3], from a Radiance file (.hdr).

    Raises ImageError if it is none.
    """
    import cv2

    try:
        data = read_plain(path, _MAX_RADIANCE_BYTES)
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror or error}).") from error
    if not data.startswith((b"#?RADIANCE", b"#?RGBE")):
        raise ImageError(f"{path} is no Radiance picture (.hdr).")
    size = _RADIANCE_SIZE.search(data, 0, _MAX_RADIANCE_HEAD)
    if size and int(size[1]) * int(size[2]) > _MAX_RADIANCE_MEGAPIXELS * 1e6:
        found = f"{int(size[2])} x {int(size[1])} pixels, more than {_MAX_RADIANCE_MEGAPIXELS} megapixels"
        raise ImageError(f"{path} has {found}; please make it smaller.")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if not size or picture is None or not np.isfinite(picture).all():
        raise ImageError(f"{path} is damaged.")
    return np.asarray(picture[..., ::-1], np.float32)


def to_bytes(image: FloatArray) -> ByteArray:
    """Quantise [...] in [0, 1] to 0..255, halves up; values beyond are clipped, and NaN is refused.

    Raises ValueError if a value is NaN.
    """
    if np.isnan(image).any():
        raise ValueError("expected numbers, got NaN in the picture")
    return np.clip(image * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)


def check_rgb(image: FloatArray) -> None:
    """Raise ValueError unless it is [H, W, 3] with at least one pixel."""
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"expected a picture of shape [H, W, 3], got {image.shape}")


def encode_png(image: FloatArray) -> bytes:
    """Encode [H, W, 3] in [0, 1] as an 8-bit RGB PNG; equal pictures give equal bytes."""
    check_rgb(image)
    buffer = io.BytesIO()
    # Level 4 takes a third of the time of Pillow's 6 for 5 per cent more bytes.
    Image.fromarray(to_bytes(image)).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def encode_jpeg(image: FloatArray, quality: int = 90) -> bytes:
    """Encode [H, W, 3] in [0, 1] as a JPEG of that quality (1 to 95)."""
    check_rgb(image)
    buffer = io.BytesIO()
    Image.fromarray(to_bytes(image)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_png(path: Path, image: FloatArray) -> None:
    """Write [H, W, 3] in [0, 1] as an 8-bit RGB PNG, whole or not at all.

    Raises OutputError if it cannot be written.
    """
    write_atomic(path, encode_png(image))


def write_palette_png(path: Path, indices: ByteArray, palette: ByteArray) -> None:
    """Write a map of classes [H, W] uint8, each below K, as a palette PNG; ``palette`` is [K, 3] uint8, K up to 256.

    Raises ValueError if shapes, types or indices do not fit, OutputError if the file cannot be written.
    """
    if indices.ndim != 2 or indices.dtype != np.uint8:
        raise ValueError(f"expected indices of shape [H, W] uint8, got {indices.shape} {indices.dtype}")
    if palette.ndim != 2 or palette.shape[1] != 3 or len(palette) > 256 or palette.dtype != np.uint8:
        raise ValueError(f"expected a palette of shape [K, 3] uint8, got {palette.shape} {palette.dtype}")
    if indices.max(initial=0) >= len(palette):
        raise ValueError(f"expected indices below {len(palette)}, got {indices.max()}")
    picture = Image.fromarray(indices)
    picture.putpalette(palette.tobytes(), "RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())


def read_palette_png(path: Path) -> ByteArray:
    """Read the indices [H, W] uint8 of a palette PNG.

    Raises ImageError if the file is missing, damaged or has no palette.
    """
    try:
        with open_plain(path) as stream:
            return _indices(stream, str(path))
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error}).") from error


def decode_palette_png(data: bytes, name: str) -> ByteArray:
    """Decode the bytes of a palette PNG as :func:`read_palette_png` does; errors call it ``name``."""
    return _indices(io.BytesIO(data), name)


def _indices(stream: BinaryIO, name: str) -> ByteArray:
    try:
        with Image.open(stream, formats=("PNG",)) as picture:
            if picture.mode != "P":
                raise ImageError(f"{name} has no palette.")
            return np.array(picture, np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name} cannot be read ({error}).") from error


def resize_image(
    image: FloatArray, width: int, height: int, method: Literal["area", "bilinear", "lanczos"] = "area"
) -> FloatArray:
    """Resize [H, W, C] of any range to [height, width, C]; when shrinking, every method averages over its support.

    Lanczos may overshoot; the result is clipped to the range of the input.
    """
    if image.ndim != 3:
        raise ValueError(f"expected a picture of shape [H, W, C], got {image.shape}")
    if width < 1 or height < 1:
        raise ValueError(f"expected a size of at least 1 x 1, got {width} x {height}")
    chosen = Image.Resampling[_FILTERS[method]]
    channels = [
        np.asarray(Image.fromarray(np.ascontiguousarray(channel, np.float32)).resize((width, height), chosen))
        for channel in np.moveaxis(image, 2, 0)
    ]
    return np.clip(np.stack(channels, axis=2), image.min(), image.max()).astype(np.float32)


def at_most(image: FloatArray, side: int) -> FloatArray:
    """Shrink [H, W, C] until neither side is longer than ``side``."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    return resize_image(image, max(1, round(width * factor)), max(1, round(height * factor)))
