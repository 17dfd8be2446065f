"""Data sets: Fashion-MNIST and the test images of MNIST (fetched once), bacteria (drawn in code), small tables
(shipped with scikit-learn).

Pictures are `Images`: rows of 784 standardized grey values, x = (pixel / 255 - mean) / std with two fixed numbers per
data set. Tables are `Table`. Whatever is wrong with data on disk or on the network is one `DataError`, which names the
file and the remedy; whatever is wrong with an argument is a ValueError.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import importlib
import logging
import math
import operator
import os
import shutil
import struct
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike

#: The names of Fashion-MNIST's classes, by label.
FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
FASHION_MEAN, FASHION_STD = 0.28604, 0.35302  #: Of the grey values of all 60,000 training images, in units of 255

MNIST_MEAN, MNIST_STD = 0.1307, 0.3081  #: The same of MNIST's 60,000 training images, in its customary four digits

_SIDE = 28

_RETRIES = 2
_TIMEOUT = 30.0  # seconds that the server may be silent
_SLOWEST = 1000  # bytes per second that must arrive, over _TIMEOUT
_LARGEST = 2**25  # bytes; the largest official file has 26 MB
_ABANDONED = 600  # seconds without a change after which a download's folder belongs to nobody: a live one times out

_MOST_BYTES = 2**30  # that an IDX file may declare
_MOST_DIMENSIONS = 4
_DEFLATE_RATIO = 1032  # the most that gzip can compress: 258 bytes into 2 bits
_CHUNK = 2**16


class DataError(RuntimeError):
    """A data set is missing, damaged or out of reach; the message names the file and says what to do."""


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """Grey-scale pictures of 28 x 28 pixels with their classes.

    Attributes
    ----------
    x : float32 (B, 784), standardized: x = (pixel / 255 - mean) / std.
    y : int64 (B,), from 0 to len(class_names) - 1.
    class_names : the names of the classes.
    mean, std : the two numbers that x was standardized with.
    """

    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]
    mean: float
    std: float

    @property
    def pixels(self) -> np.ndarray:
        """The pictures as they were stored, uint8 (B, 28, 28), recovered from x without loss."""
        grey = np.rint((self.x * np.float32(self.std) + np.float32(self.mean)) * np.float32(255))
        return np.clip(grey, 0, 255).astype(np.uint8).reshape(-1, _SIDE, _SIDE)

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"Images({len(self)} pictures of {_SIDE} x {_SIDE} pixels, {len(self.class_names)} classes)"


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Rows of features with their classes.

    Attributes
    ----------
    x : float64 (B, d), every feature standardized over all B rows; see `standardize` for splits.
    y : int64 (B,), from 0 to len(class_names) - 1.
    feature_names, class_names : d names, and one per class.
    """

    x: np.ndarray
    y: np.ndarray
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"Table({len(self)} rows of {len(self.feature_names)} features, {len(self.class_names)} classes)"


# --- pictures --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """A set of pictures on the network: where it comes from, and what its files must be."""

    name: str  # on the command line, and of the folder in which the files lie
    title: str
    url: str
    files: dict[str, tuple[str, str]]  # for each split those of the images and of the labels
    counts: dict[str, int]  # of the pictures in each split
    md5: dict[str, str]
    class_names: tuple[str, ...]
    mean: float
    std: float

    def command(self, root: str | os.PathLike | None = None) -> str:
        """What one types to fetch it."""
        return f"python -m snnlib data {self.name}" + ("" if root is None else f" --root {root}")


_FASHION = _Source(
    name="fashion-mnist",
    title="Fashion-MNIST",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    files={
        "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    },
    counts={"train": 60_000, "test": 10_000},
    md5={
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    class_names=FASHION_CLASSES,
    mean=FASHION_MEAN,
    std=FASHION_STD,
)
_MNIST = _Source(
    name="mnist-t10k",
    title="MNIST's test set",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    files={"test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")},
    counts={"test": 10_000},
    md5={
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    class_names=tuple("0123456789"),
    mean=MNIST_MEAN,
    std=MNIST_STD,
)


def _sources() -> dict[str, _Source]:
    return {source.name: source for source in (_FASHION, _MNIST)}


def fashion_mnist(
    split: str = "train", limit: int | None = None, root: str | os.PathLike | None = None, download: bool = True
) -> Images:
    """Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017; MIT licence): 60,000 training and 10,000 test pictures of clothes.

    Parameters
    ----------
    split : "train" or "test".
    limit : take the first so many pictures, or all of them where it is None. No more than these is decompressed.
    root : the folder that holds, or will hold, `fashion-mnist/`. Where it is None: the environment variable SNN_DATA;
        without it the folder `data/` of the repository; without a repository pooch's cache folder for snnlib.
    download : whether missing files may be fetched. From $SNN_DATA files are read and nothing is ever fetched.

    Returns
    -------
    `Images` with mean 0.28604 and std 0.35302. These are constants, taken over all 60,000 training pictures, so that
    neither limit nor split changes the scale of a picture.

    What is checked, before anything of the files' size is allocated: both headers, that images and labels are equally
    many, and that there are at least `limit`; afterwards, that labels lie between 0 and 9. Without limit the files are
    read to their ends, with gzip's own checksum; with limit only as far as needed. Files in $SNN_DATA are otherwise
    taken as they are (they may be the first part of the set); anywhere else they must be the official ones, by MD5.

    Raises DataError when a file is missing, damaged, not the official one, cannot be fetched, or holds fewer than
    `limit` pictures; ValueError for a split or a limit that make no sense.

    >>> fashion_mnist(limit=100)  # doctest: +SKIP
    Images(100 pictures of 28 x 28 pixels, 10 classes)
    """
    _check_choice("split", split, _FASHION.files)
    return _load(_FASHION, split, limit, root, download)


def mnist_t10k(limit: int | None = None, root: str | os.PathLike | None = None, download: bool = True) -> Images:
    """The 10,000 test images of MNIST (LeCun, Cortes and Burges, 1998): handwritten digits.

    They are one set, without a split: an experiment that needs training and test pictures divides them itself, and its
    results are then none on "the MNIST test set".

    limit, root, download, what is checked and what is raised as in `fashion_mnist`; the folder is `mnist-t10k/`, from
    2 MB of download.

    Returns `Images` with mean 0.1307 and std 0.3081. These are constants, customary for MNIST and taken over its 60,000
    training images, so that limit does not change the scale of a picture.
    """
    return _load(_MNIST, "test", limit, root, download)


def _load(source: _Source, split: str, limit: int | None, root: str | os.PathLike | None, download: bool) -> Images:
    limit = _checked_count("limit", limit)
    images, labels = _ready(source, source.files[split], root, download)
    count = _checked_shapes(images, labels, source.counts[split])
    if limit is not None and limit > count:
        full = count == source.counts[split]
        more = "" if full else f", or get the full set: unset SNN_DATA and run `{source.command()}`"
        raise DataError(f"{images} holds {count:,} images, fewer than limit = {limit:,}: ask for fewer{more}")
    y = read_idx(labels, limit)
    _check_labels(y, labels, len(source.class_names))
    return _images(read_idx(images, limit), y, source.class_names, source.mean, source.std)


def fetch(name: str, root: str | os.PathLike | None = None) -> Path:
    """Fetch those files of "fashion-mnist" or "mnist-t10k" that are missing; return the folder in which they lie.

    root as in `fashion_mnist`. Raises DataError as it does, ValueError for another name.
    """
    _check_choice("name", name, _sources())
    source = _sources()[name]
    return _ready(source, list(source.md5), root, download=True)[0].parent


def check(name: str, root: str | os.PathLike | None = None) -> str:
    """A sentence on where the set lies and how many pictures it has, after all its files were read to their ends.

    name and root as in `fetch`; nothing is fetched. Raises DataError at the first file that is missing or wrong.
    """
    _check_choice("name", name, _sources())
    source = _sources()[name]
    counts = []
    for split, names in source.files.items():
        images, labels = _ready(source, names, root, download=False)
        count = _checked_shapes(images, labels, source.counts[split])
        _check_labels(read_idx(labels), labels, len(source.class_names))
        read_idx(images)
        counts.append(f"{count:,} {'training' if split == 'train' else split}")
    return f"{source.title} lies in {images.parent}: {' and '.join(counts)} images, all sound"


def bacteria(split: str = "train", n: int | None = None, seed: int = 0) -> Images:
    """Microscopy-like pictures of ten forms of bacteria, drawn in code from a seed; the same on every machine.

    Parameters
    ----------
    split : "train" or "test"; the two are drawn from independent streams of random numbers.
    n : number of pictures, 10,000 for training and 2,000 for testing where it is None.
    seed : a whole number >= 0; another seed gives other pictures of the same kinds.

    Returns `Images`; mean and std are constants, whatever n, split and seed are. Raises ValueError for impossible
    arguments.

    >>> train = bacteria("train", n=20)
    >>> train, train.x.shape, train.class_names[:2]
    (Images(20 pictures of 28 x 28 pixels, 10 classes), (20, 784), ('coccus', 'diplococcus'))
    """
    _check_choice("split", split, ("train", "test"))
    n = _checked_count("n", n)
    seed = _checked_count("seed", seed, least=0, optional=False)
    from . import _bacteria

    if n is None:
        n = 10_000 if split == "train" else 2_000
    pixels, y = _bacteria.draw(n, seed, stream=("train", "test").index(split))
    return _images(pixels, y, _bacteria.CLASS_NAMES, _bacteria.MEAN, _bacteria.STD)


def _images(pixels: np.ndarray, y: np.ndarray, class_names: Sequence[str], mean: float, std: float) -> Images:
    scale = ((np.arange(256) / 255 - mean) / std).astype(np.float32)  # what becomes of each grey value
    x = scale[pixels.reshape(len(pixels), -1)]
    return Images(x, y.astype(np.int64), tuple(class_names), float(mean), float(std))


# --- tables ----------------------------------------------------------------------------------------------------------

_TABLES = {"iris": "load_iris", "wine": "load_wine", "breast-cancer": "load_breast_cancer"}


def tabular(name: str) -> Table:
    """A small table that ships with scikit-learn: "iris" (150, 4), "wine" (178, 13) or "breast-cancer" (569, 30).

    Every feature of `Table.x` has mean 0 and variance 1 over all rows, as self-normalizing networks want their inputs
    (Klambauer et al., 2017). Before a test is made, pass the parts through `standardize`.

    Raises ValueError for another name, DataError where scikit-learn is not installed.

    >>> tabular("iris")
    Table(150 rows of 4 features, 3 classes)
    """
    _check_choice("name", name, _TABLES)
    bunch = getattr(_module("sklearn.datasets", "scikit-learn"), _TABLES[name])()
    (x,) = standardize(bunch.data)
    return Table(
        x, bunch.target.astype(np.int64), tuple(map(str, bunch.feature_names)), tuple(map(str, bunch.target_names))
    )


def standardize(train: ArrayLike, *others: ArrayLike) -> tuple[np.ndarray, ...]:
    """(train, *others), shifted and scaled so that every feature has mean 0 and variance 1 over the rows of train.

    Parameters
    ----------
    train, *others : (B, d), (B', d), ...; finite.

    Returns float64 arrays of the same shapes. A feature that is constant in train is shifted only.

    Mean and variance must not be taken over rows that a test will use: they would leak into training, and the test
    would come out a little too well. It does no harm that the features were standardized over all rows before, as those
    of `Table.x` are: any earlier shift and scale cancels here, and the result is that of the raw features.

    Raises ValueError for other shapes, an empty train, NaN or infinity.

    >>> train, test = standardize([[1.0], [3.0]], [[4.0]])
    >>> train.ravel(), test.ravel()
    (array([-1.,  1.]), array([2.]))
    """
    parts = [np.asarray(part, np.float64) for part in (train, *others)]
    for part in parts:
        if part.ndim != 2 or part.shape[1] != parts[0].shape[-1]:
            raise ValueError(f"expected arrays of shape (B, d) with one d, got {[part.shape for part in parts]}")
        if not np.isfinite(part).all():
            raise ValueError("features must be finite: fill in or drop missing values first")
    if 0 in parts[0].shape:
        raise ValueError(f"train must hold at least one row and one feature, got shape {parts[0].shape}")
    mean, std = parts[0].mean(axis=0), parts[0].std(axis=0)
    std[np.ptp(parts[0], axis=0) == 0] = 1  # not std == 0: the mean is rounded, and so is what is left of a constant
    return tuple((part - mean) / std for part in parts)


# --- the IDX format --------------------------------------------------------------------------------------------------


def read_idx(path: str | os.PathLike, limit: int | None = None) -> np.ndarray:
    """The array in an IDX file of unsigned bytes, plain or gzipped.

    Parameters
    ----------
    path : the file; gzip is recognized by its content.
    limit : read the first so many entries along the first axis, or all where it is None.

    Returns
    -------
    uint8 array of the shape that the header declares (of `limit` entries along its first axis).

    The format (LeCun's, for MNIST): two zero bytes, the type of the elements (8: unsigned bytes), the number d of
    dimensions, their sizes as d big-endian 32-bit integers, the elements in C order. The header is believed only where
    a file of this size can hold what it declares, up to 1 GiB and 4 dimensions; no more than that and one byte is ever
    decompressed. Without limit the file must end where the header says, and gzip's checksum is verified; with limit
    what comes later is not looked at.

    Raises DataError when the file is missing, unreadable, damaged, not such a file, shorter or longer than its header
    says, or holds fewer than `limit` entries; ValueError for a limit that is not a whole number >= 1.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels-idx1-ubyte"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1]) + (3).to_bytes(4, "big") + bytes([7, 8, 9]))
    ...     read_idx(path, limit=2)
    array([7, 8], dtype=uint8)
    """
    limit = _checked_count("limit", limit)
    with _opened(path) as (stream, capacity):
        shape = _header(path, stream, capacity)
        count = shape[0] if limit is None else limit
        if count > shape[0]:
            raise DataError(f"{path} holds {shape[0]:,} entries, fewer than limit = {limit:,}: ask for fewer")
        array = np.empty((count, *shape[1:]), np.uint8)
        rest = memoryview(array).cast("B")
        while rest:
            chunk = stream.read(min(len(rest), _CHUNK))
            if not chunk:
                raise DataError(f"{path} is shorter than its header says, {_declared(shape)}: {_REPLACE}")
            rest[: len(chunk)] = chunk
            rest = rest[len(chunk) :]
        if count == shape[0] and stream.read(1):  # also makes gzip compare its checksum
            raise DataError(f"{path} is longer than its header says, {_declared(shape)}: {_REPLACE}")
    return array


_REPLACE = "replace it by a good copy"


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[tuple[BinaryIO, int]]:
    """(stream, the most bytes that it can yield) of a plain or gzipped file; what goes wrong becomes a DataError."""
    try:
        if not Path(path).is_file():  # opening a pipe would wait for somebody to write
            raise DataError(f"{path} {'is not a file' if Path(path).exists() else 'is missing'}: {_REPLACE}")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if zipped:
                with gzip.GzipFile(fileobj=file) as stream:
                    yield stream, _DEFLATE_RATIO * size
            else:
                yield file, size
    except EOFError as error:
        raise DataError(f"{path} is cut short: {_REPLACE}") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged ({error}): {_REPLACE}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): {_REPLACE} that you may read") from error


def _header(path: str | os.PathLike, stream: BinaryIO, capacity: int) -> tuple[int, ...]:
    """The shape that the header declares, if the file is large enough to keep the promise."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(f"{path} is not an IDX file, it begins with {magic!r}: {_REPLACE}")
    if magic[2] != 8:
        raise DataError(f"{path} holds elements of type 0x{magic[2]:02x}, not unsigned bytes (0x08): {_REPLACE}")
    if not 1 <= magic[3] <= _MOST_DIMENSIONS:
        raise DataError(f"{path} declares {magic[3]} dimensions, not 1 to {_MOST_DIMENSIONS}: {_REPLACE}")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"{path} ends within its header: {_REPLACE}")
    shape = struct.unpack(f">{magic[3]}I", sizes)
    if 0 in shape or math.prod(shape) > _MOST_BYTES:
        raise DataError(f"{path} declares {_declared(shape)}, not 1 to {_MOST_BYTES:,}: {_REPLACE}")
    if 4 + len(sizes) + math.prod(shape) > capacity:
        raise DataError(f"{path} is too small for what its header declares, {_declared(shape)}: {_REPLACE}")
    return shape


def _declared(shape: tuple[int, ...]) -> str:
    return f"{' x '.join(map(str, shape))} = {math.prod(shape):,} bytes"


# --- tables that come with the course --------------------------------------------------------------------------------


def stored(name: str) -> Path:
    """The path of a file or folder that comes with the course: `data/name` of the repository, in forward slashes.

    An installed package carries the tables, plans and pictures of `data/` along as `snnlib.stored`, so that a chapter
    finds them without its repository. Raises DataError where there is no such file or folder.
    """
    folder = _repository_data() or Path(__file__).resolve().parent / "stored"
    path = folder / name
    if not path.exists():
        kept = ", ".join(sorted(path.name for path in folder.glob("*") if path.suffix == ".csv" or path.is_dir()))
        raise DataError(f"nothing that is called {name!r} comes with the course; {folder} holds {kept or 'nothing'}")
    return path


def _repository_data() -> Path | None:
    """The folder `data` of the repository that this package is read from, or None where it is installed without."""
    repository = Path(__file__).resolve().parents[1]
    return repository / "data" if (repository / "pyproject.toml").is_file() else None


# --- pictures on disk ------------------------------------------------------------------------------------------------


def _folder(source: _Source, root: str | os.PathLike | None) -> tuple[Path, bool]:
    """(the folder of the files, whether they must be the official ones)."""
    if root is None and os.environ.get("SNN_DATA"):
        return Path(os.environ["SNN_DATA"]).expanduser() / source.name, False
    if root is not None:
        return Path(root).expanduser() / source.name, True
    if (data := _repository_data()) is not None:
        return data / source.name, True
    return Path(_module("pooch").os_cache("snnlib")) / source.name, True


def _ready(source: _Source, names: Sequence[str], root: str | os.PathLike | None, download: bool) -> list[Path]:
    """The paths of the named files, fetched where they were missing, and official unless SNN_DATA names their place."""
    folder, official = _folder(source, root)
    paths = [folder / name for name in names]
    missing = [path for path in paths if not os.path.lexists(path)]
    if missing and not official:
        raise DataError(
            f"{missing[0]} is missing: SNN_DATA names this place, so nothing is fetched; "
            f"put the file there, or unset SNN_DATA and run `{source.command()}`"
        )
    command = source.command(root)
    if missing and not download:
        raise DataError(f"{missing[0]} is missing: run `{command}`")
    if missing:
        _fetch(source, folder, command)
    if official:
        for path in paths:
            _check_md5(path, source.md5[path.name], command)
    return paths


def _check_md5(path: Path, expected: str, command: str) -> None:
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): make it readable or delete it") from error
    if found != expected:
        raise DataError(
            f"{path} is not the official file (MD5 {found}, not {expected}): delete it and run `{command}`, "
            "or set SNN_DATA to use other files as they are"
        )


def _checked_shapes(images: Path, labels: Path, most: int) -> int:
    """The number of images, at most `most`, if both headers are those of such a set and agree; reads headers only."""
    shapes = []
    for path in (images, labels):
        with _opened(path) as (stream, capacity):
            shapes.append(_header(path, stream, capacity))
    (count, *picture), label_shape = shapes
    if picture != [_SIDE, _SIDE]:
        raise DataError(f"{images} declares {_declared(shapes[0])}, not pictures of {_SIDE} x {_SIDE}: {_REPLACE}")
    if len(label_shape) != 1:
        raise DataError(f"{labels} declares {_declared(label_shape)}, not one label per image: {_REPLACE}")
    if count > most:
        raise DataError(f"{images} declares {count:,} images, but the set has {most:,}: {_REPLACE}")
    if label_shape[0] != count:
        raise DataError(f"{labels} holds {label_shape[0]:,} labels for {count:,} images in {images.name}: {_REPLACE}")
    return count


def _check_labels(y: np.ndarray, path: Path, classes: int) -> None:
    wrong = y >= classes
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{path} holds the label {y[row]} (entry {row}), labels are 0 to {classes - 1}: {_REPLACE}")


# --- pictures on the network -----------------------------------------------------------------------------------------


class _RefusedError(Exception):
    """The server answered, and to ask it again would not help."""


def _fetch(source: _Source, folder: Path, command: str) -> None:
    """Fetch the missing files of the set into the folder.

    Each grows in a folder of this process's own, beside `folder`, and is renamed once its MD5 is right: a file is there
    in full or not at all, and processes that start at once do not disturb each other. What a killed process left
    behind is removed by the next one.
    """
    pooch = _module("pooch")
    registry = {name: f"md5:{md5}" for name, md5 in source.md5.items()}
    growing = f".{source.name}-"  # begins the name of a folder in which a download grows
    path = folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder.parent, growing)
        with (
            _silent(pooch.get_logger()),
            tempfile.TemporaryDirectory(prefix=growing, dir=folder.parent, ignore_cleanup_errors=True) as partial,
        ):
            site = pooch.Pooch(Path(partial), source.url, registry=registry, retry_if_failed=_RETRIES)
            for path in [folder / name for name in source.md5 if not os.path.lexists(folder / name)]:
                complete = site.fetch(path.name, downloader=_download)
                folder.mkdir(exist_ok=True)
                os.replace(complete, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}): make room or make the place writable, "
            "or name another folder (root=, on the command line --root)"
        ) from error
    except (_RefusedError, ValueError) as error:
        raise DataError(
            f"{path} could not be fetched from {source.url}: {error}; check the network and run `{command}` again, "
            "or put the file there by hand"
        ) from error


@contextlib.contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """Without the messages of pooch, which announce a temporary place."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _remove_abandoned(root: Path, prefix: str) -> None:
    for partial in root.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # another process may be faster
            latest = max(path.stat().st_mtime for path in (partial, *partial.iterdir()))
            if time.time() - latest > _ABANDONED:
                shutil.rmtree(partial, ignore_errors=True)


def _download(url: str, path: str, _: object) -> None:
    """What pooch calls to fetch a file: an OSError is the disk's, after a ValueError pooch tries again."""
    os.unlink(path)  # made by pooch for its owner alone; a new file has the permissions that the user wants
    start, bar = b"", None
    try:
        with open(path, "xb") as file:
            for chunk, total in _received(url):
                if bar is None and sys.stderr.isatty():
                    bar = _module("tqdm").tqdm(total=total, desc=url.rsplit("/", 1)[1], unit="B", unit_scale=True)
                if bar is not None:
                    bar.update(len(chunk))
                start = (start + chunk)[:64] if len(start) < 64 else start
                file.write(chunk)
    finally:
        if bar is not None:
            bar.close()
    if not start.startswith(b"\x1f\x8b"):
        html = start.lstrip().lower().startswith((b"<!doctype html", b"<html"))
        what = "a web page (does this network ask for a login?)" if html else f"data that begin with {start[:16]!r}"
        raise _RefusedError(f"the server sent {what if start else 'nothing'}, not a gzip file")


def _received(url: str) -> Iterator[tuple[bytes, int | None]]:
    """Yield (chunk, the number of bytes announced) as they arrive.

    pooch's own downloader waits for a full kilobyte, byte after byte, so that a server that trickles keeps it forever.
    """
    received, recent, since = 0, 0, time.monotonic()
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "snnlib"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            total = response.length
            while chunk := response.read1(_CHUNK):
                received, recent = received + len(chunk), recent + len(chunk)
                if received > _LARGEST:
                    raise _RefusedError(f"the server sent more than {_LARGEST:,} bytes")
                if time.monotonic() - since > _TIMEOUT:
                    if recent < _SLOWEST * _TIMEOUT:
                        raise ValueError(f"the server is too slow ({recent:,} bytes in {_TIMEOUT:g} seconds)")
                    recent, since = 0, time.monotonic()
                yield chunk, total
    except urllib.error.HTTPError as error:
        kind = _RefusedError if 400 <= error.code < 500 and error.code not in (408, 429) else ValueError
        raise kind(f"the server answered {error.code} {_one_line(error.reason)}") from error
    except TimeoutError as error:
        raise ValueError(f"the server was silent for {_TIMEOUT:g} seconds") from error
    except (OSError, http.client.HTTPException) as error:
        raise ValueError(f"the connection failed ({_one_line(getattr(error, 'reason', error))})") from error
    if total is not None and received < total:
        raise ValueError(f"the connection was lost after {received:,} of {total:,} bytes")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


# --- arguments -------------------------------------------------------------------------------------------------------


def _module(name: str, distribution: str | None = None) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        install = distribution or name
        raise DataError(f"{install} is needed and cannot be imported: run `python -m pip install {install}`") from error


def _check_choice(label: str, value: str, choices: Sequence[str]) -> None:
    if value not in list(choices):
        raise ValueError(f"{label} must be one of {', '.join(choices)}; got {value!r}")


def _checked_count(label: str, value: int | None, least: int = 1, optional: bool = True) -> int | None:
    if value is None and optional:
        return None
    try:
        count = operator.index(value)
    except TypeError:
        count = least - 1
    if count < least or isinstance(value, bool):
        raise ValueError(f"{label} must be a whole number >= {least}, got {value!r}")
    return count
