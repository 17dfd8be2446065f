"""Data sets: what is read is what the files hold, and whatever is wrong ends in one clear line."""

import gzip
import io
import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataserver import COMPLETE, FILES, MD5, command, idx, lay_out, listing, serving, tiny_arrays

from snnlib import datasets
from snnlib.datasets import DataError, Images, fashion_mnist, mnist_t10k, read_idx, standardize, tabular

ARRAYS = tiny_arrays()
FIRST = "train-images-idx3-ubyte.gz"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("SNN_DATA", raising=False)


def as_official(monkeypatch, **changed):
    """Change what is known of both sets, as far as they have it: the sums, the address."""
    for name in ("_FASHION", "_MNIST"):
        source = getattr(datasets, name)
        if "md5" in changed:
            changed["md5"] = {file: MD5[file] for file in source.md5}
        monkeypatch.setattr(datasets, name, replace(source, **changed))


@pytest.fixture
def tiny(monkeypatch):
    """Make the tiny files the official ones, and their server's failures short."""
    as_official(monkeypatch, md5=MD5)
    monkeypatch.setattr(datasets, "_RETRIES", 0)
    monkeypatch.setattr(datasets, "_TIMEOUT", 0.5)


@pytest.fixture
def server(tiny, monkeypatch):
    with serving() as server:
        server.behave = lambda behaviour: as_official(monkeypatch, url=server.url(behaviour))
        yield server


@pytest.fixture
def given(monkeypatch):
    """Point SNN_DATA to a folder."""
    return lambda folder: monkeypatch.setenv("SNN_DATA", str(folder)) or folder


def failure(function, *arguments, **named):
    """The message of the DataError that a call raises; it is one line."""
    with pytest.raises(DataError) as caught:
        function(*arguments, **named)
    message = str(caught.value)
    assert "\n" not in message
    return message


def peak_memory(function, *arguments):
    """The most bytes that were allocated during a call that raises a DataError."""
    tracemalloc.start()
    try:
        failure(function, *arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- the IDX format --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["plain", "gzip"])
def written(request, tmp_path):
    """A function that writes bytes to a file, plain or gzipped, and returns its path."""

    def write(content):
        path = tmp_path / "file"
        path.write_bytes(content if request.param == "plain" else gzip.compress(content))
        return path

    return write


def test_a_file_written_byte_by_byte_is_read(written):
    array = read_idx(written(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255])))
    assert array.dtype == np.uint8
    assert array.tolist() == [[1, 2, 3], [4, 5, 255]]


@pytest.mark.parametrize("shape", [(1,), (70_000,), (3, 5), (40, 50, 60), (2, 3, 4, 5)])
def test_arrays_of_one_to_four_dimensions_come_back_whole(written, shape):
    array = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(read_idx(written(idx(array))), array)
    np.testing.assert_array_equal(read_idx(str(written(idx(array))), limit=1), array[:1])


def test_limit_takes_the_first_entries_and_does_not_look_at_the_rest(written):
    array = np.random.default_rng(2).integers(0, 256, (400, 28, 28), np.uint8)
    content = idx(array)
    path = written(content)
    whole = path.read_bytes()
    damaged = whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2)
    path.write_bytes(damaged)
    np.testing.assert_array_equal(read_idx(path, limit=100), array[:100])
    if whole != content:
        assert "is damaged" in failure(read_idx, path)


def test_limit_needs_little_memory(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx(np.zeros((60_000, 28, 28), np.uint8)), 1))
    tracemalloc.start()
    read_idx(path, limit=100)
    assert tracemalloc.get_traced_memory()[1] < 2e6  # the whole file holds 47 MB
    tracemalloc.stop()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is not an IDX file, it begins with b''"),
        (b"\0\0\x08", "is not an IDX file"),
        (b"<!DOCTYPE html>", "begins with b'<!DO'"),
        (bytes([0, 0, 13, 1, 0, 0, 0, 1, 0, 0, 0, 0]), "elements of type 0x0d, not unsigned bytes"),
        (bytes([0, 0, 8, 0]), "declares 0 dimensions, not 1 to 4"),
        (bytes([0, 0, 8, 5]) + bytes([0, 0, 0, 1] * 5) + b"x", "declares 5 dimensions"),
        (bytes([0, 0, 8, 3, 0, 0, 0, 1]), "ends within its header"),
        (bytes([0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 28]), "declares 0 x 28 = 0 bytes"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3, 4]), "is longer than its header says, 3 = 3 bytes"),
        (bytes([0, 0, 8, 3] + [255] * 12), "declares 4294967295 x 4294967295 x 4294967295"),
        (bytes([0, 0, 8, 1, 64, 0, 0, 1]), "1,073,741,825 bytes, not 1 to 1,073,741,824"),
        (bytes([0, 0, 8, 1, 1, 0, 0, 0, 7]), "too small for what its header declares, 16777216 = 16,777,216 bytes"),
    ],
)
def test_a_lying_file_is_refused_by_name_with_a_remedy(written, content, message):
    path = written(content)
    said = failure(read_idx, path)
    assert str(path) in said and message in said and "replace it by a good copy" in said


def test_a_file_shorter_than_its_header_says_is_refused(written):
    assert "than its header" in (said := failure(read_idx, written(idx(np.arange(200))[:-1]))) or "too small" in said


def test_a_header_that_promises_too_much_costs_no_memory(tmp_path):
    """A gigabyte is declared by a file of a few bytes: it cannot hold it, so nothing is allocated."""
    lie = bytes([0, 0, 8, 1, 0x3F, 0xFF, 0xFF, 0xFF]) + bytes(1000)
    for content in (lie, gzip.compress(lie)):
        (tmp_path / "file").write_bytes(content)
        assert peak_memory(read_idx, tmp_path / "file") < 1e6


def test_a_gzip_bomb_is_not_inflated(tmp_path):
    """300 MB of zeros follow ten entries; only one byte of them is looked at."""
    path = tmp_path / "bomb"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(idx(np.arange(10)))
        for _ in range(300):
            file.write(bytes(10**6))
    assert "is longer than its header says" in failure(read_idx, path)
    assert peak_memory(read_idx, path) < 2e6


@pytest.mark.parametrize("keep", [12, 40, -9, -4, -1])
def test_a_gzip_file_cut_anywhere_is_refused(tmp_path, keep):
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(idx(np.arange(255)))[:keep])
    said = failure(read_idx, path)
    assert f"{path} is cut short" in said or "too small" in said


@pytest.mark.parametrize("position", [-8, -4])
def test_the_checksum_and_the_length_of_gzip_are_verified(tmp_path, position):
    content = bytearray(gzip.compress(idx(np.arange(255))))
    content[position] ^= 1
    (tmp_path / "file.gz").write_bytes(content)
    assert "is damaged" in failure(read_idx, tmp_path / "file.gz")


def test_what_is_no_file_is_refused(tmp_path):
    assert "is missing" in failure(read_idx, tmp_path / "absent")
    assert "is not a file" in failure(read_idx, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in failure(read_idx, tmp_path / "pipe")


@pytest.mark.parametrize("limit", [0, -1, 2.0, "3", True, False])
def test_a_limit_that_is_no_count_is_refused(tmp_path, limit):
    for call in (lambda: read_idx(tmp_path, limit), lambda: fashion_mnist(limit=limit)):
        with pytest.raises(ValueError, match="limit must be a whole number >= 1, got"):
            call()


def test_more_entries_than_there_are_is_refused(written):
    path = written(idx([1, 2, 3]))
    assert read_idx(path, np.int32(3)).tolist() == [1, 2, 3]
    assert "holds 3 entries, fewer than limit = 4: ask for fewer" in failure(read_idx, path, 4)


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean, std", [(datasets.FASHION_MEAN, datasets.FASHION_STD), (0.0, 1.0), (0.9, 0.01)])
def test_every_grey_value_is_recovered(mean, std):
    grey = np.resize(np.arange(256), (2, 28, 28)).astype(np.uint8)
    x = (grey.reshape(2, 784) / 255 - mean) / std
    images = Images(x.astype(np.float32), np.zeros(2, np.int64), ("a",), mean, std)
    assert images.pixels.dtype == np.uint8
    np.testing.assert_array_equal(images.pixels, grey)


def test_pictures_are_standardized_with_two_fixed_numbers(tmp_path, given):
    given(lay_out(tmp_path))
    for split, part in [("train", "train"), ("test", "t10k")]:
        pixels, labels = ARRAYS[part]
        images = fashion_mnist(split)
        assert (images.x.dtype, images.y.dtype) == (np.float32, np.int64)
        np.testing.assert_allclose(images.x, (pixels.reshape(-1, 784) / 255 - 0.28604) / 0.35302, rtol=3e-7, atol=1e-7)
        np.testing.assert_array_equal(images.pixels, pixels)
        np.testing.assert_array_equal(images.y, labels)
        assert (images.mean, images.std, len(images)) == (0.28604, 0.35302, len(labels))
        assert images.class_names[0] == "T-shirt/top" and images.class_names[9] == "Ankle boot"
        assert repr(images) == f"Images({len(labels)} pictures of 28 x 28 pixels, 10 classes)"


def test_limit_takes_the_first_images_on_the_same_scale(tmp_path, given):
    given(lay_out(tmp_path))
    whole, part = fashion_mnist(), fashion_mnist(limit=2)
    np.testing.assert_array_equal(part.x, whole.x[:2])
    np.testing.assert_array_equal(part.y, whole.y[:2])
    assert len(fashion_mnist(limit=7)) == 7


def test_more_images_than_there_are_is_an_error_that_says_so(tmp_path, given):
    given(lay_out(tmp_path))
    said = failure(fashion_mnist, limit=2000)
    assert FIRST in said and "holds 7 images, fewer than limit = 2,000: ask for fewer" in said
    assert "unset SNN_DATA and run `python -m snnlib data fashion-mnist`" in said


def lay_out_mnist(folder, **changed):
    """The tiny test files, as mnist-t10k."""
    laid = lay_out(folder / "all", **changed) / "fashion-mnist"
    for path in laid.glob("train-*"):
        path.unlink()
    laid.rename(folder / "mnist-t10k")
    laid.parent.rmdir()
    return folder


def test_mnist_is_standardized_with_its_own_two_numbers(tmp_path, given):
    given(lay_out_mnist(tmp_path))
    pixels, labels = ARRAYS["t10k"]
    images = mnist_t10k()
    assert (images.x.dtype, images.y.dtype) == (np.float32, np.int64)
    np.testing.assert_allclose(images.x, (pixels.reshape(-1, 784) / 255 - 0.1307) / 0.3081, rtol=3e-7, atol=1e-7)
    np.testing.assert_array_equal(images.pixels, pixels)
    assert images.y.tolist() == labels.tolist() and images.class_names == tuple(map(str, range(10)))
    np.testing.assert_array_equal(mnist_t10k(limit=2).x, images.x[:2])
    said = failure(mnist_t10k, limit=4)
    assert (
        f"{tmp_path}/mnist-t10k/t10k-images" in said and "holds 3 images, fewer than limit = 4: ask for fewer" in said
    )
    assert "unset SNN_DATA and run `python -m snnlib data mnist-t10k`" in said
    with pytest.raises(ValueError, match="limit must be a whole number >= 1, got 0"):
        mnist_t10k(limit=0)


def test_files_that_are_not_those_of_mnist_are_refused(tmp_path, given):
    given(lay_out_mnist(tmp_path, t10k_images=declares(10_001, 28, 28)))
    assert "10,001 images, but the set has 10,000" in failure(mnist_t10k)
    given(lay_out_mnist(tmp_path / "other", t10k_labels=gzip.compress(idx([1, 2, 10]))))
    assert "the label 10 (entry 2), labels are 0 to 9" in failure(mnist_t10k)
    assert failure(datasets.check, "mnist-t10k") == failure(mnist_t10k)


@pytest.mark.parametrize("call", [datasets.fetch, datasets.check])
def test_another_set_is_refused(call):
    with pytest.raises(ValueError, match="name must be one of fashion-mnist, mnist-t10k; got 'mnist'"):
        call("mnist")


def declares(n, *picture):
    """A gzipped file whose header declares n pictures, and that holds a few bytes in truth."""
    header = bytes([0, 0, 8, 1 + len(picture)]) + np.array([n, *picture], ">u4").tobytes()
    return gzip.compress(header + np.random.default_rng(3).bytes(10**5))


@pytest.mark.parametrize(
    "changed, file, message",
    [
        ({"train_labels": gzip.compress(idx(np.zeros(6)))}, "train-labels", "holds 6 labels for 7 images in train-ima"),
        ({"train_labels": gzip.compress(idx(np.zeros((7, 1))))}, "train-labels", "not one label per image"),
        ({"train_images": gzip.compress(idx(np.zeros((7, 28, 27))))}, "train-images", "not pictures of 28 x 28"),
        ({"train_images": gzip.compress(idx(np.zeros((7, 784))))}, "train-images", "not pictures of 28 x 28"),
        ({"train_images": declares(60_001, 28, 28)}, "train-images", "60,001 images, but the set has 60,000"),
        ({"train_images": declares(60_000, 28, 28)}, "train-labels", "7 labels for 60,000 images"),
        ({"train_labels": gzip.compress(idx([0, 1, 2, 9, 10, 3, 11]))}, "train-labels", "the label 10 (entry 4)"),
        ({"train_images": b"<html>"}, "train-images", "is not an IDX file"),
        ({"train_images": FILES[FIRST][:-20]}, "train-images", "is cut short"),
    ],
)
def test_files_that_are_not_the_set_are_refused_before_anything_is_allocated(tmp_path, given, changed, file, message):
    given(lay_out(tmp_path, **changed))
    said = failure(fashion_mnist)
    assert f"{tmp_path}/fashion-mnist/{file}-idx" in said and message in said and "replace it by a good copy" in said
    assert peak_memory(fashion_mnist) < 2e6  # 47 MB are declared at most
    assert failure(datasets.check, "fashion-mnist") == said


def test_the_first_labels_alone_are_checked_with_limit_and_all_of_them_by_check(tmp_path, given):
    given(lay_out(tmp_path, train_labels=gzip.compress(idx([0, 1, 2, 9, 10, 3, 4]))))
    assert fashion_mnist(limit=4).y.tolist() == [0, 1, 2, 9]
    assert "the label 10" in failure(datasets.check, "fashion-mnist")


@pytest.mark.parametrize("split", ["training", "val", "", None, ["train"]])
def test_another_split_is_refused(split):
    for load in (fashion_mnist, datasets.bacteria):
        with pytest.raises(ValueError, match="split must be one of train, test; got"):
            load(split)


@pytest.mark.parametrize(
    "named, message",
    [({"n": 0}, "n must be a whole number >= 1, got 0"), ({"seed": -1}, "seed must"), ({"seed": None}, "seed")],
)
def test_impossible_numbers_of_bacteria_are_refused(named, message):
    with pytest.raises(ValueError, match=message):
        datasets.bacteria(**named)


@pytest.mark.parametrize(
    "arguments, asked",
    [
        (("train",), (10_000, 0, 0)),
        (("test",), (2_000, 0, 1)),
        (("test", np.int64(5), 3), (5, 3, 1)),
    ],
)
def test_bacteria_are_drawn_from_the_stream_of_their_split(monkeypatch, arguments, asked):
    from snnlib import _bacteria

    calls = []

    def draw(n, seed, stream):
        calls.append((n, seed, stream))
        return np.full((n, 28, 28), 51, np.uint8), np.zeros(n, np.int64)

    monkeypatch.setattr(_bacteria, "draw", draw)
    images = datasets.bacteria(*arguments)
    assert calls == [asked] and len(images) == asked[0] and len(images.class_names) == 10
    np.testing.assert_allclose(images.x, (0.2 - _bacteria.MEAN) / _bacteria.STD, rtol=1e-6)
    np.testing.assert_array_equal(images.pixels, 51)


# --- the real set ----------------------------------------------------------------------------------------------------

_REAL = Path(os.environ.get("SNN_DATA") or Path(__file__).resolve().parents[1] / "data")


@pytest.fixture
def real(monkeypatch):
    """The folder of the real files; skips where there are none."""
    if not (_REAL / "fashion-mnist" / FIRST).exists():
        pytest.skip("no Fashion-MNIST: set SNN_DATA or run `python -m snnlib data fashion-mnist`")
    monkeypatch.setenv("SNN_DATA", str(_REAL))
    return _REAL / "fashion-mnist"


@pytest.mark.parametrize(
    "split, part, labels",  # the first labels as the authors of the set show them
    [("train", "train", [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]), ("test", "t10k", [9, 2, 1, 1, 6, 1, 4, 6, 5, 7])],
)
def test_the_real_set_is_what_its_files_hold(real, split, part, labels):
    images = fashion_mnist(split, limit=1000)
    assert images.y[:10].tolist() == labels
    raw = gzip.decompress((real / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
    np.testing.assert_array_equal(images.pixels.ravel(), np.frombuffer(raw, np.uint8)[: 1000 * 784])
    assert set(images.y) == set(range(10))


def test_the_first_2000_real_pictures_have_nearly_mean_0_and_variance_1(real):
    """The means of 2,000 pictures scatter by 0.24 / sqrt(2000) around the mean of all: 0.005 in units of x."""
    x = fashion_mnist(limit=2000).x.astype(np.float64)
    assert abs(x.mean()) < 0.03 and abs(x.std() - 1) < 0.03


def test_the_real_test_images_of_mnist_are_what_the_file_holds(monkeypatch):
    """Their first labels, and how many of each there are, as everybody finds them."""
    path = _REAL / "mnist-t10k" / "t10k-images-idx3-ubyte.gz"
    if not path.exists():
        pytest.skip("no MNIST: set SNN_DATA or run `python -m snnlib data mnist-t10k`")
    monkeypatch.setenv("SNN_DATA", str(_REAL))
    images = mnist_t10k()
    assert images.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(images.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    raw = np.frombuffer(gzip.decompress(path.read_bytes())[16:], np.uint8)
    np.testing.assert_array_equal(images.pixels.ravel(), raw)
    # 10,000 pictures other than those that the two numbers are taken over: 1 % apart in either
    assert abs(images.x.mean(dtype=float)) < 0.01 and abs(images.x.std(dtype=float) - 1) < 0.01


# --- where the files lie ---------------------------------------------------------------------------------------------


def test_nothing_is_fetched_into_snn_data(tmp_path, given, server):
    server.behave("good")
    given(tmp_path)
    said = failure(fashion_mnist)
    assert f"{tmp_path}/fashion-mnist/{FIRST} is missing: SNN_DATA names this place" in said
    assert "unset SNN_DATA and run `python -m snnlib data fashion-mnist`" in said
    assert server.asked == [] and listing(tmp_path) == []


def test_root_wins_over_snn_data_and_an_empty_snn_data_is_none(tmp_path, given, tiny, monkeypatch):
    given(tmp_path / "elsewhere")
    lay_out(tmp_path / "here")
    assert len(fashion_mnist(root=tmp_path / "here")) == 7
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "here" / "snnlib" / "datasets.py"))
    (tmp_path / "here" / "pyproject.toml").touch()
    (tmp_path / "here" / "fashion-mnist").rename(tmp_path / "here" / "data")
    monkeypatch.setenv("SNN_DATA", "")
    assert f"{tmp_path}/here/data/fashion-mnist/{FIRST} is missing" in failure(fashion_mnist, download=False)


def test_without_a_repository_the_files_lie_in_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "site-packages" / "snnlib" / "datasets.py"))
    assert f"{tmp_path}/cache/snnlib/fashion-mnist/{FIRST} is missing" in failure(fashion_mnist, download=False)


@pytest.mark.parametrize("place", ["data", "snnlib/stored"], ids=["in a repository", "installed"])
def test_what_comes_with_the_course_is_found_with_and_without_the_repository(tmp_path, monkeypatch, place):
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "snnlib" / "datasets.py"))
    if place == "data":
        (tmp_path / "pyproject.toml").touch()
    (tmp_path / place / "sweeps").mkdir(parents=True)
    (tmp_path / place / "sweeps" / "a.csv").touch()
    assert datasets.stored("sweeps/a.csv") == tmp_path / place / "sweeps" / "a.csv"
    said = failure(datasets.stored, "b.csv")
    assert "'b.csv'" in said and f"{tmp_path}/{place} holds sweeps" in said


def test_a_missing_set_names_the_command_that_fetches_it(tmp_path):
    said = failure(fashion_mnist, root=tmp_path, download=False)
    assert said.endswith(f"{FIRST} is missing: run `python -m snnlib data fashion-mnist --root {tmp_path}`")
    assert listing(tmp_path) == []


def test_files_that_are_not_the_official_ones_are_taken_from_snn_data_only(tmp_path, given, server):
    """Nothing is replaced silently: the file stays, and the server is not asked."""
    server.behave("good")
    lay_out(tmp_path, train_labels=gzip.compress(idx(np.zeros(7))))
    said = failure(fashion_mnist, root=tmp_path)
    assert "train-labels-idx1-ubyte.gz is not the official file (MD5 " in said
    assert f"not {MD5['train-labels-idx1-ubyte.gz']}): delete it and run" in said
    assert server.asked == [] and len(fashion_mnist("test", root=tmp_path)) == 3
    given(tmp_path)
    assert fashion_mnist().y.tolist() == [0] * 7


def test_the_published_checksums_and_address_are_those_of_the_set():
    fashion, mnist = datasets._FASHION, datasets._MNIST
    assert fashion.url == "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    assert [fashion.md5[name] for names in fashion.files.values() for name in names] == [
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ]
    assert mnist.url == "https://ossci-datasets.s3.amazonaws.com/mnist/"
    assert mnist.md5 == {  # as torchvision publishes them
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }


# --- fetching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", ["good", "without_length"])
def test_the_four_files_are_fetched_once(tmp_path, server, capfd, behaviour):
    server.behave(behaviour)
    root = tmp_path / "new" / "folder"
    np.testing.assert_array_equal(fashion_mnist(root=root).pixels, ARRAYS["train"][0])
    assert listing(root) == COMPLETE and sorted(server.asked) == sorted(FILES)
    fashion_mnist("test", root=root)
    assert len(server.asked) == 4
    assert capfd.readouterr() == ("", "")  # not a terminal: no progress, no announcement


def test_the_two_files_of_mnist_are_fetched_once_into_their_own_folder(tmp_path, server, monkeypatch):
    """Files of the same names lie in the folder of Fashion-MNIST; neither set takes the other's."""
    server.behave("good")
    monkeypatch.setattr(datasets, "_FASHION", replace(datasets._FASHION, url="http://127.0.0.1:9/"))  # not from there
    lay_out(tmp_path, t10k_labels=gzip.compress(idx([0, 0, 0])))
    np.testing.assert_array_equal(mnist_t10k(root=tmp_path).y, ARRAYS["t10k"][1])
    mnist_t10k(root=tmp_path)
    assert sorted(server.asked) == sorted(datasets._MNIST.md5)
    assert sorted(path.name for path in (tmp_path / "mnist-t10k").iterdir()) == sorted(server.asked)
    assert datasets.fetch("mnist-t10k", tmp_path) == tmp_path / "mnist-t10k"
    lay_out_mnist(tmp_path / "elsewhere", t10k_labels=gzip.compress(idx([0, 0, 0])))
    said = failure(mnist_t10k, root=tmp_path / "elsewhere")
    assert "t10k-labels-idx1-ubyte.gz is not the official file (MD5 " in said
    assert f"run `python -m snnlib data mnist-t10k --root {tmp_path}/elsewhere`" in said


def test_only_what_is_missing_is_fetched(tmp_path, server):
    server.behave("good")
    (lay_out(tmp_path) / "fashion-mnist" / FIRST).unlink()
    fashion_mnist(root=tmp_path)
    assert server.asked == [FIRST]


def test_files_have_the_permissions_of_any_other_file(tmp_path, server):
    server.behave("good")
    fashion_mnist(root=tmp_path)
    (tmp_path / "other").touch()
    assert (tmp_path / "fashion-mnist" / FIRST).stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_terminal_shows_the_progress_of_each_file(tmp_path, server, monkeypatch):
    class Terminal(io.StringIO):
        isatty = lambda self: True  # noqa: E731

    server.behave("good")
    monkeypatch.setattr(sys, "stderr", Terminal())
    fashion_mnist(root=tmp_path)
    assert all(f"{name}: 100%" in sys.stderr.getvalue() for name in FILES)


def test_a_lost_connection_is_tried_again(tmp_path, server, monkeypatch):
    monkeypatch.setattr(datasets, "_RETRIES", 1)
    server.behave("drop_first")
    assert len(fashion_mnist(root=tmp_path)) == 7
    assert server.asked[:2] == [FIRST, FIRST] and len(server.asked) == 5 and listing(tmp_path) == COMPLETE


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "behaviour, message",
    [
        ("drop", f"the connection was lost after {len(FILES[FIRST]) // 2:,} of {len(FILES[FIRST]):,} bytes"),
        ("hang_up", "the connection failed (Remote end closed connection without response)"),
        ("truncate", f"does not match the known hash: expected md5:{MD5[FIRST]}"),
        ("corrupt", f"does not match the known hash: expected md5:{MD5[FIRST]}"),
        ("page", "the server sent a web page (does this network ask for a login?), not a gzip file"),
        ("text", "the server sent data that begin with b'come back later', not a gzip file"),
        ("nothing", "the server sent nothing, not a gzip file"),
        ("missing", "the server answered 404 Not Found"),
        ("unavailable", "the server answered 503 Service Unavailable"),
        ("silent", "the server was silent for 0.5 seconds"),
        ("trickle", "the server is too slow"),
        ("endless", "the server sent more than 33,554,432 bytes"),
    ],
)
def test_a_server_that_misbehaves_ends_in_one_line_and_leaves_nothing(tmp_path, server, behaviour, message):
    server.behave(behaviour)
    said = failure(fashion_mnist, root=tmp_path)
    assert f"{tmp_path}/fashion-mnist/{FIRST} could not be fetched from {server.url(behaviour)}: " in said
    assert message in said and "check the network and run `python -m snnlib data fashion-mnist" in said
    assert listing(tmp_path) == []


@pytest.mark.parametrize("behaviour, times", [("missing", 1), ("page", 1), ("drop", 2), ("unavailable", 2)])
def test_only_what_may_pass_is_tried_again(tmp_path, server, monkeypatch, behaviour, times):
    monkeypatch.setattr(datasets, "_RETRIES", 1)
    server.behave(behaviour)
    failure(fashion_mnist, root=tmp_path)
    assert len(server.asked) == times


def test_no_network_is_one_clear_line(tmp_path, server, monkeypatch):
    server.behave("good")
    as_official(monkeypatch, url="http://127.0.0.1:9/")  # nobody listens there
    assert "the connection failed ([Errno" in failure(fashion_mnist, root=tmp_path)
    assert listing(tmp_path) == []


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path):
    """The system itself refuses to let a file grow beyond 3,000 bytes."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))"
    with serving() as server:
        process = command(server.url("good"), "data", "fashion-mnist", "--root", tmp_path, before=limit)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, len(errors.splitlines())) == (1, "", 1)
    assert f"{FIRST} cannot be written (File too large): make room or make the place writable" in errors
    assert listing(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path, server):
    server.behave("good")
    (tmp_path / "file").write_text("mine")
    said = failure(fashion_mnist, root=tmp_path / "file")
    assert (
        f"{tmp_path}/file/fashion-mnist" in said and "name another folder (root=, on the command line --root)" in said
    )
    assert (tmp_path / "file").read_text() == "mine" and server.asked == []


@pytest.fixture
def unprivileged():
    """Without the rights of root, which no permission stops."""
    import pooch  # noqa: F401 (while it may still be read)

    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_one_clear_line(server, unprivileged):
    server.behave("good")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o500)
        said = failure(fashion_mnist, root=folder)
        assert f"{folder}/fashion-mnist cannot be written (Permission denied)" in said
        assert listing(Path(folder)) == [] and server.asked == []


def test_a_file_that_may_not_be_read_is_one_clear_line(server, unprivileged, monkeypatch):
    server.behave("good")
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        os.chmod(Path(folder, "fashion-mnist", FIRST), 0)
        assert f"{FIRST} cannot be read (Permission denied)" in failure(fashion_mnist, root=folder)
        monkeypatch.setenv("SNN_DATA", folder)
        assert f"{FIRST} cannot be read (Permission denied)" in failure(fashion_mnist)


def test_two_processes_that_start_at_once_both_succeed(tmp_path):
    """The server answers the first request only when the second process has asked, too."""
    with serving() as server:
        processes = [command(server.url("together"), "data", "fashion-mnist", "--root", tmp_path) for _ in range(2)]
        outcomes = [(*process.communicate(timeout=60), process.returncode) for process in processes]
    said = f"Fashion-MNIST lies in {tmp_path}/fashion-mnist: 7 training and 3 test images, all sound\n"
    assert outcomes == [(said, "", 0)] * 2
    assert len(server.asked) > 4 and listing(tmp_path) == COMPLETE


def test_what_a_killed_process_left_is_removed_once_it_is_old(tmp_path, server):
    process = command(server.url("half"), "data", "fashion-mnist", "--root", tmp_path)
    assert server.reached.wait(60)
    process.kill()
    process.communicate()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".fashion-mnist-")
    server.behave("good")
    fashion_mnist(root=tmp_path)
    assert left.exists()  # it might belong to a download that goes on
    for path in (*left.iterdir(), left):
        os.utime(path, (0, 0))
    (tmp_path / "fashion-mnist" / FIRST).unlink()
    fashion_mnist(root=tmp_path)
    assert listing(tmp_path) == COMPLETE


# --- what is imported ------------------------------------------------------------------------------------------------


def test_importing_data_sets_imports_nothing_heavy():
    program = "import json, sys, snnlib.datasets; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "sklearn", "pooch", "tqdm", "requests", "scipy", "matplotlib"} & set(json.loads(output))


def test_a_package_that_is_not_installed_is_named_with_the_remedy(tmp_path, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert "pooch is needed and cannot be imported: run `python -m pip" in failure(fashion_mnist, root=tmp_path)
    assert "run `python -m pip install scikit-learn`" in failure(tabular, "iris")


def test_pooch_is_needed_for_fetching_only(tmp_path, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert len(fashion_mnist(root=lay_out(tmp_path))) == 7


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, rows, features, counts",  # as the UCI repository describes them
    [
        ("iris", 150, 4, {"setosa": 50, "versicolor": 50, "virginica": 50}),
        ("wine", 178, 13, {"class_0": 59, "class_1": 71, "class_2": 48}),
        ("breast-cancer", 569, 30, {"malignant": 212, "benign": 357}),
    ],
)
def test_tables_are_those_of_the_uci_repository(name, rows, features, counts):
    table = tabular(name)
    assert table.x.shape == (rows, features) and len(table) == rows and len(table.feature_names) == features
    assert (table.x.dtype, table.y.dtype) == (np.float64, np.int64)
    assert {table.class_names[k]: n for k, n in enumerate(np.bincount(table.y).tolist())} == counts
    np.testing.assert_allclose(table.x.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(table.x.var(axis=0), 1, rtol=1e-13)
    assert repr(table) == f"Table({rows} rows of {features} features, {len(counts)} classes)"


def test_another_table_is_refused():
    with pytest.raises(ValueError, match="name must be one of iris, wine, breast-cancer; got 'digits'"):
        tabular("digits")


def test_standardize_uses_the_rows_of_train_alone():
    train, test = standardize([[0.0, 1.0], [2.0, 5.0]], [[4.0, 3.0]])
    assert train.tolist() == [[-1, -1], [1, 1]] and test.tolist() == [[3, 0]]


def test_standardize_undoes_what_was_standardized_before():
    """scikit-learn's scaler on the raw features gives the same as `standardize` on those of the table."""
    from sklearn.datasets import load_wine
    from sklearn.preprocessing import StandardScaler

    raw, x = load_wine().data, tabular("wine").x
    scaler = StandardScaler().fit(raw[::2])
    train, test = standardize(x[::2], x[1::2])
    np.testing.assert_allclose(train, scaler.transform(raw[::2]), atol=1e-12)
    np.testing.assert_allclose(test, scaler.transform(raw[1::2]), atol=1e-12)


def test_a_constant_feature_is_shifted_only():
    """The mean of many times 0.1 is not 0.1 in floating point; what is left must not be blown up."""
    x = np.full((1000, 2), 0.1)
    x[:, 1] = 1e6
    with np.errstate(all="raise"):
        train, test = standardize(x, x[:1] + 1)
    np.testing.assert_allclose(train, 0, atol=3e-14)  # 1000 additions, each off by 2e-16 of 0.1 at most
    np.testing.assert_allclose(test, 1, atol=1e-9)


@pytest.mark.parametrize(
    "parts, message",
    [
        (([1.0, 2.0],), r"shape \(B, d\) with one d, got \[\(2,\)\]"),
        (([[1.0]], [[1.0, 2.0]]), r"got \[\(1, 1\), \(1, 2\)\]"),
        ((np.empty((0, 3)),), r"at least one row and one feature, got shape \(0, 3\)"),
        (([[1.0]], [[np.nan]]), "features must be finite"),
    ],
)
def test_parts_that_cannot_be_standardized_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        standardize(*parts)
