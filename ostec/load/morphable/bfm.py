"""Basel Face Model 2009 with the expressions of Guo et al., built as Deep3DFaceRecon does, or built by it."""

from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.assets import find_model, load_manifest, models_folders
from ostec.core.errors import AssetError
from ostec.core.morphable import MorphableModel
from ostec.core.plain import open_plain, read_plain
from ostec.core.types import FloatArray, IntArray
from ostec.load.morphable.files import Arrays, basis, build, need, read_mat, wrong_shape

MANIFEST = "bfm2009"
_FRONT = "BFM_model_front.mat"
_ORIGINAL = "01_MorphableModel.mat"
_EXPRESSIONS = "Exp_Pca.bin"
_MAX_TEXT_BYTES = 1 << 20
_MM_PER_UNIT = 100.0
_PER_UNIT = 1e5
"""The original's lengths are micrometres; Deep3DFaceRecon divides them so that they become decimetres."""
_VERTICES = 53_490
"""Of the whole original."""
_IDENTITIES, _COMPONENTS, _COLOURS = 80, 64, 80
"""How many of each Deep3DFaceRecon keeps."""


def read_bfm() -> MorphableModel:
    """Read the Basel Face Model from the user's folders of models.

    ``BFM_model_front.mat`` is taken as it is; otherwise the model is built from ``01_MorphableModel.mat``,
    ``Exp_Pca.bin``, ``std_exp.txt`` and ``BFM_exp_idx.mat`` and, where ``BFM_front_idx.mat`` and ``facemodel_info.mat``
    are there too, cut to the front as Deep3DFaceRecon does (util/load_mats.py). All ids in these files count from 1.
    The result is in decimetres and recentred on the mean vertex of the front; its axes are already ours. Raises
    AssetError if a file is missing, damaged, or does not fit the others.
    """
    front = find_model(MANIFEST, _FRONT)
    return _build(need(MANIFEST, _ORIGINAL)) if front is None else _read_front(front)


def _model(
    sources: list[Path],
    triangles: IntArray,
    uv: FloatArray | None,
    skin: dict[str, IntArray],
    notes: tuple[str, ...] = (),
    **arrays: Any,
) -> MorphableModel:
    """What both ways lead to; ``uv`` [V, 2], v up, and colours from 0 to 255."""
    values: dict[str, Any] = {} if uv is None else {"uv": uv, "triangles_uv": triangles}
    return build(
        MANIFEST,
        sources,
        mm_per_unit=_MM_PER_UNIT,
        triangles=triangles,
        expression_range=(-3.0, 3.0),
        albedo_mean=arrays.pop("colour") / np.float32(255),
        albedo=arrays.pop("colours") / np.float32(255),
        parts={"face": np.arange(len(triangles), dtype=np.int32), **skin},
        notes=notes if uv is not None else (*notes, "BFM_UV.mat is missing: there are no texture coordinates."),
        **values,
        **arrays,
    )


def _find(name: str, beside: Path | None = None) -> Path | None:
    """A file that the manifest may not list: beside another one, or where the model's own files are looked for."""
    folders = [beside.parent] if beside is not None else []
    folders += [
        root / below for root in models_folders() for below in ("bfm2009", *load_manifest(MANIFEST).folders, ".")
    ]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _beside(name: str, beside: Path) -> Path:
    found = _find(name, beside)
    if found is None:
        raise AssetError(f"{beside} needs {name} beside it; please run: ostec models show {MANIFEST}")
    return found


def _read_front(path: Path) -> MorphableModel:
    names = ("meanshape", "meantex", "idBase", "exBase", "texBase", "tri", "keypoints", "skinmask")
    arrays = read_mat(path, names)
    shape = arrays.points("meanshape")
    count = len(shape)
    triangles = arrays.ids("tri", count, None, 3, base=1)
    return _model(
        [path],
        triangles,
        _front_uv(path, count),
        arrays.skin(triangles, count),
        mean=shape - shape.mean(axis=0),
        identity=arrays.offsets("idBase", count),
        expression=arrays.offsets("exBase", count),
        colour=arrays.points("meantex", count),
        colours=arrays.offsets("texBase", count),
        landmarks=arrays.landmarks(count),
    )


def _front_uv(beside: Path, count: int) -> FloatArray | None:
    """The texture coordinates of the front's vertices, if BFM_UV.mat and both lists of indices are there."""
    paths = [_find(name, beside) for name in ("BFM_exp_idx.mat", "BFM_front_idx.mat", "BFM_UV.mat")]
    if any(path is None for path in paths):
        return None
    trim, front, table = (path for path in paths if path is not None)
    kept = read_mat(trim, ("trimIndex",)).ids("trimIndex", _VERTICES, None, base=1)
    return _uv_of(table, kept)[read_mat(front, ("idx",)).ids("idx", len(kept), count, base=1)]


def _uv_of(path: Path, kept: IntArray) -> FloatArray:
    """[K, 2] for the K vertices that have expressions: the rows of BFM_UV.mat, which may also have one for each of all.

    Args:
        path: of the file; the published one (3DDFA_V2, configs/BFM_UV.mat) has 53,215 rows.
        kept: [K] ids in the whole model.
    """
    uv = read_mat(path, ("UV",)).floats("UV", None, 2)
    if len(uv) == len(kept):
        return uv
    if len(uv) <= kept.max():
        raise AssetError(wrong_shape(path, "UV", (len(kept), 2), uv.shape))
    return uv[kept]


def _build(path: Path) -> MorphableModel:
    """What util/load_mats.py does; without the front's files, all vertices that the expressions have."""
    arrays = read_mat(path, ("shapePC", "shapeEV", "shapeMU", "texPC", "texEV", "texMU", "tl"))
    shape, colour = arrays.points("shapeMU") / np.float32(_PER_UNIT), arrays.points("texMU")
    count = len(shape)
    trim_path = _beside("BFM_exp_idx.mat", path)
    trim = read_mat(trim_path, ("trimIndex",)).ids("trimIndex", count, None, base=1)
    expression, expression_files = _expressions(path, len(trim))
    sources = [path, trim_path, *expression_files]
    identity = _scaled(arrays, "shapePC", "shapeEV", count, _IDENTITIES) / np.float32(_PER_UNIT)
    colours = _scaled(arrays, "texPC", "texEV", count, _COLOURS)
    front_path, info_path = _find("BFM_front_idx.mat", path), _find("facemodel_info.mat", path)
    kept, chosen = trim, np.arange(len(trim), dtype=np.int32)
    centre = shape[trim].mean(axis=0)
    notes: tuple[str, ...] = ()
    if front_path is not None:
        front = read_mat(front_path, ("idx",)).ids("idx", len(trim), None, base=1)
        centre = shape[trim[front]].mean(axis=0)
        sources.append(front_path)
    if front_path is not None and info_path is not None:
        kept, chosen = trim[front], front
        info = read_mat(info_path, ("tri", "keypoints", "skinmask"))
        triangles = info.ids("tri", len(kept), None, 3, base=1)
        landmarks, skin = info.landmarks(len(kept)), info.skin(triangles, len(kept))
        sources.append(info_path)
    else:
        triangles, landmarks, skin = _trimmed(arrays.ids("tl", count, None, 3, base=1), trim, count), {}, {}
        wanted = {"BFM_front_idx.mat": front_path, "facemodel_info.mat": info_path}
        missing = " and ".join(name for name, found in wanted.items() if found is None)
        notes = (f"{missing} is missing: the model is the whole face, without landmarks.",)
    table = _find("BFM_UV.mat", path)
    return _model(
        sources,
        triangles,
        None if table is None else _uv_of(table, trim)[chosen],
        skin,
        notes,
        mean=shape[kept] - centre,
        identity=identity[kept],
        expression=expression[chosen],
        colour=colour[kept],
        colours=colours[kept],
        landmarks=landmarks,
    )


def _scaled(arrays: Arrays, components: str, deviations: str, count: int, kept: int) -> FloatArray:
    """The first components, each times its standard deviation, [V, 3, K]."""
    scale = arrays.floats(deviations, None)
    values = arrays.floats(components, 3 * count, len(scale))
    return basis(values[:, :kept] * scale[:kept], count)


def _expressions(beside: Path, count: int) -> tuple[FloatArray, list[Path]]:
    """Exp_Pca.bin: a count (int32), a mean that nobody uses and that many components (float32), one after another."""
    path = find_model(MANIFEST, _EXPRESSIONS) or _beside(_EXPRESSIONS, beside)
    scales_path = _beside("std_exp.txt", path)
    try:
        size = path.stat().st_size
        with open_plain(path) as stream:
            number = int.from_bytes(stream.read(4), "little", signed=True)
            expected = 4 + 4 * 3 * count * (number + 1)
            if number < 1 or size != expected:
                claimed = f"{number} components of {count} vertices"
                raise AssetError(f"{path} cannot be used: {claimed} would take {expected} bytes, not {size}.")
            stream.seek(4 + 4 * 3 * count)
            kept = min(number, _COMPONENTS)
            values = np.frombuffer(stream.read(4 * 3 * count * kept), "<f4").reshape(kept, 3 * count)
        scales = np.array(read_plain(scales_path, _MAX_TEXT_BYTES).decode("ascii").split(), dtype=np.float64)
    except (OSError, ValueError) as error:
        raise AssetError(f"{path} or {scales_path.name} cannot be read ({error}).") from error
    if len(scales) != number or not np.isfinite(values).all():
        raise AssetError(f"{scales_path} cannot be used: it should hold {number} finite numbers, not {len(scales)}.")
    scaled = values.T * (scales[:kept] / _PER_UNIT).astype(np.float32)
    return basis(scaled, count), [path, scales_path]


def _trimmed(triangles: IntArray, kept: IntArray, count: int) -> IntArray:
    """The triangles whose corners are all kept, with the numbers that these get."""
    place = np.full(count, -1, np.int32)
    place[kept] = np.arange(len(kept), dtype=np.int32)
    found = place[triangles]
    return found[(found >= 0).all(axis=1)]
