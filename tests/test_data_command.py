"""python -m snnlib data: what it prints, what it exits with, what it leaves when it is stopped."""

import os
import shlex
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from dataserver import COMPLETE, FILES, MD5, command, lay_out, listing, serving

from snnlib import datasets
from snnlib.__main__ import main

FETCH = "python -m snnlib data fashion-mnist"


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """The tiny set is the official one; no network, no settings of the user."""
    mnist = {name: MD5[name] for name in datasets._MNIST.md5}
    at = "http://127.0.0.1:9/"  # nobody listens there
    monkeypatch.setattr(datasets, "_FASHION", replace(datasets._FASHION, md5=MD5, url=at))
    monkeypatch.setattr(datasets, "_MNIST", replace(datasets._MNIST, md5=mnist, url=at))
    monkeypatch.setattr(datasets, "_RETRIES", 0)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("SNN_DATA", raising=False)


def snnlib(*arguments, **environ):
    """Run python -m snnlib as a user does."""
    line = [sys.executable, "-m", "snnlib", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, env={**os.environ, **environ})


def test_the_set_is_fetched_and_its_place_is_said(tmp_path, monkeypatch, capsys):
    with serving() as server:
        monkeypatch.setattr(datasets, "_FASHION", replace(datasets._FASHION, url=server.url("good")))
        assert main(["data", "fashion-mnist", "--root", str(tmp_path)]) == 0
        said = f"Fashion-MNIST lies in {tmp_path}/fashion-mnist: 7 training and 3 test images, all sound\n"
        assert capsys.readouterr() == (said, "")
        assert listing(tmp_path) == COMPLETE and len(server.asked) == 4
        assert main(["data", "fashion-mnist", "--root", str(tmp_path)]) == 0
        assert capsys.readouterr() == (said, "") and len(server.asked) == 4


def test_the_test_images_of_mnist_are_fetched_by_their_name(tmp_path, monkeypatch, capsys):
    with serving() as server:
        monkeypatch.setattr(datasets, "_MNIST", replace(datasets._MNIST, url=server.url("good")))
        assert main(["data", "mnist-t10k", "--root", str(tmp_path)]) == 0
        assert sorted(server.asked) == sorted(datasets._MNIST.md5)
    said = f"MNIST's test set lies in {tmp_path}/mnist-t10k: 3 test images, all sound\n"
    assert capsys.readouterr() == (said, "")
    assert main(["data", "--check", "mnist-t10k", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr() == (said, "")
    assert main(["data", "--check", "--root", str(tmp_path)]) == 1
    assert f"is missing: run `{FETCH} --root" in capsys.readouterr().err


def test_check_reads_every_file_and_fetches_nothing(tmp_path, capsys):
    assert main(["data", "--check", "--root", str(tmp_path)]) == 1
    output, errors = capsys.readouterr()
    assert output == "" and errors.endswith(f"is missing: run `{FETCH} --root {tmp_path}`\n")
    assert listing(tmp_path) == []
    assert main(["data", "--check", "--root", str(lay_out(tmp_path))]) == 0
    assert capsys.readouterr().out.endswith("7 training and 3 test images, all sound\n")


@pytest.mark.parametrize("name", FILES)
def test_check_finds_damage_in_any_of_the_four_files(tmp_path, monkeypatch, capsys, name):
    lay_out(tmp_path)
    (tmp_path / "fashion-mnist" / name).write_bytes(FILES[name][:-1])
    assert main(["data", "--check", "--root", str(tmp_path)]) == 1
    assert f"{name} is not the official file" in capsys.readouterr().err
    monkeypatch.setenv("SNN_DATA", str(tmp_path))
    assert main(["data", "--check"]) == 1
    assert f"{name} is cut short" in capsys.readouterr().err


def test_snn_data_is_used_as_it_is(tmp_path):
    process = snnlib("data", "fashion-mnist", SNN_DATA=str(lay_out(tmp_path)))
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith(f"Fashion-MNIST lies in {tmp_path}/fashion-mnist: 7 training and 3 test images")


def test_an_error_is_one_line_without_a_traceback(tmp_path):
    process = snnlib("data", "--check", SNN_DATA=str(tmp_path))
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith("error: ") and process.stderr.count("\n") == 1
    assert f"unset SNN_DATA and run `{FETCH}`" in process.stderr


def test_no_network_exits_with_1(tmp_path, capsys):
    assert main(["data", "fashion-mnist", "--root", str(tmp_path)]) == 1
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and "the connection failed" in errors
    assert f"check the network and run `{FETCH} --root {tmp_path}` again" in errors


@pytest.mark.parametrize("arguments", ["data", "data mnist", "data --chek", "data fashion-mnist --root", "dta"])
def test_wrong_usage_exits_with_2_and_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(arguments))
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m snnlib")


def test_alone_it_prints_help_with_every_command():
    process = snnlib()
    assert (process.returncode, process.stderr) == (0, "")
    assert "usage: python -m snnlib" in process.stdout and "fetch Fashion-MNIST" in process.stdout
    assert snnlib("--help").stdout == process.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["data", "--help"]])
def test_the_examples_in_the_help_are_accepted(arguments, capsys, tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  python -m snnlib ")]
    assert lines
    lay_out(tmp_path)
    (tmp_path / "mnist-t10k").mkdir()
    for name in datasets._MNIST.md5:
        (tmp_path / "mnist-t10k" / name).write_bytes(FILES[name])
    for line in lines:
        words = line.split("  ")[1].split()[3:]  # what follows two spaces explains
        main([*words, "--root", str(tmp_path)])
        title = "MNIST's test set" if "mnist-t10k" in words else "Fashion-MNIST"
        assert capsys.readouterr().out.startswith(f"{title} lies in ")


@pytest.mark.parametrize("number, status, errors", [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "")])
def test_a_download_that_is_stopped_leaves_nothing_behind(tmp_path, number, status, errors):
    with serving() as server:
        process = command(server.url("half"), "data", "fashion-mnist", "--root", tmp_path)
        assert server.reached.wait(60)
        assert len(listing(tmp_path)) == 2  # half a file, in a folder of its own
        process.send_signal(number)
        assert process.communicate(timeout=60) == ("", errors)
    assert process.returncode == status and listing(tmp_path) == []
