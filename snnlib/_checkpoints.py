"""Checkpoints: the state of a run in a folder, written so that no crash can take the last good one away.

A checkpoint is two files. `step-000000040-3f2a….safetensors` holds the tensors, and the letters are the beginning of
its SHA-256; `step-000000040.json` holds everything else, and the size and the SHA-256 of the first. The JSON is written
last and counts: before it stands the checkpoint does not exist, afterwards it is whole. Each file grows under a
temporary name, reaches the disk (fsync) and only then gets its own name (os.replace). No pickle: reading a checkpoint
runs no code.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
from torch import Tensor

_FORMAT, _VERSION = "snnlib checkpoint", 1
_JSON = re.compile(r"step-(\d{9,})\.json")
_TENSORS = re.compile(r"step-(\d{9,})-[0-9a-f]{16}\.safetensors")
_TEMPORARY = re.compile(r"\.step-.*\.tmp")
_NO_SUM = "0" * 64  # stands in the place of the sum of the JSON while that sum is taken
_FLOAT = "__float__"  # the key under which JSON spells the floats that it has no numerals for


class CheckpointError(RuntimeError):
    """A checkpoint is damaged, foreign or cannot be written; the message names the file and says what to do."""


def save(folder: str | os.PathLike, step: int, tensors: dict[str, Tensor], state: dict, keep: int = 2) -> None:
    """Write the checkpoint of a step, then remove all but the `keep` last ones.

    Parameters
    ----------
    folder : made where it is missing. One run owns it; whoever writes after a step of the past (see `load`) gives up
        the steps beyond it, which are removed.
    step : number of steps done; a later checkpoint of the same step takes the place of the earlier one.
    tensors : copied to the CPU; they may share memory and come back without sharing it.
    state : what JSON can say: None, bool, int of any size, float (nan and infinities too), str, lists and dicts of
        them with keys of type str. Tuples come back as lists, NumPy scalars as the Python numbers of the same value.

    Raises TypeError for another type in `state`, ValueError for a bad step or `keep`, and CheckpointError when the file
    system refuses (disk full, no permission, a folder of other files); what stood there before then still stands.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"expected step >= 0 and keep >= 1, got step = {step} and keep = {keep}")
    folder, name = Path(folder), f"step-{step:09d}"
    data = safetensors.torch.save({key: t.detach().to("cpu", copy=True).contiguous() for key, t in tensors.items()})
    sum_ = hashlib.sha256(data).hexdigest()
    tensor_file = folder / f"{name}-{sum_[:16]}.safetensors"
    text = _seal({"step": step, "tensors": {"size": len(data), "sha256": sum_}, "state": _encode(state, "state")})
    try:
        _make(folder)
        present = _saved_steps(folder)
        json_file, was_there = folder / f"{name}.json", tensor_file.exists()
        try:
            _write(tensor_file, data)
            _write(json_file, text)
        except BaseException:  # Ctrl-C too, which may come when the JSON already has its name
            if not was_there and not (json_file.exists() and json_file.read_bytes() == text):
                tensor_file.unlink(missing_ok=True)
            raise
        _clean(folder, [*(s for s in reversed(present) if s < step)][: keep - 1], step, tensor_file.name)
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint of step {step} in {folder}: {_advice(error)}") from error


def load(folder: str | os.PathLike, fallback: bool = False) -> tuple[dict[str, Tensor], dict] | None:
    """Return tensors (on the CPU) and state of the newest checkpoint in a folder, or None where there is none.

    Every byte is checked before anything is returned, and nothing is written. Raises CheckpointError when the newest
    checkpoint is damaged or comes from a later version of the format, when the folder holds other things but no
    checkpoint, or cannot be read. With `fallback`, what is damaged is passed over as long as an earlier one is whole.
    """
    folder = Path(folder)
    try:
        if not folder.exists():
            return None
        steps = _saved_steps(folder)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoints in {folder}: {_advice(error)}") from error
    damage = None
    for step in reversed(steps):
        try:
            found = _read(folder, step)
        except CheckpointError as error:
            damage = damage or error
            continue
        if damage is None or fallback:
            return found
        raise CheckpointError(f"{damage}; fallback=True goes on from the one before it, of step {step}") from damage
    if damage is None:
        return None
    raise CheckpointError(f"{damage}; no other checkpoint there is whole: empty the folder to start afresh") from damage


def _read(folder: Path, step: int) -> tuple[dict[str, Tensor], dict]:
    path = folder / f"step-{step:09d}.json"
    content = _open(path, _bytes(path))
    size, sum_ = content["tensors"]["size"], content["tensors"]["sha256"]
    if content["step"] != step:
        raise CheckpointError(f"{path} is damaged: it is the checkpoint of step {content['step']} under another name")
    path = path.with_name(f"{path.stem}-{sum_[:16]}.safetensors")
    data = _bytes(path)
    if len(data) != size:
        raise CheckpointError(f"{path} is damaged: it has {len(data):,} bytes and should have {size:,}")
    if hashlib.sha256(data).hexdigest() != sum_:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the one noted in step-{step:09d}.json")
    return safetensors.torch.load(data), _decode(content["state"])


def _seal(content: dict) -> bytes:
    """Return the content as JSON that carries its own SHA-256, taken with zeros in the place of the sum."""
    envelope = {"format": _FORMAT, "version": _VERSION, "sha256": _NO_SUM}
    text = json.dumps(envelope | content, allow_nan=False).encode()
    return text.replace(_NO_SUM.encode(), hashlib.sha256(text).hexdigest().encode(), 1)


def _open(path: Path, text: bytes) -> dict:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it is not JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is no checkpoint: it does not say that its format is {_FORMAT!r}")
    sum_ = str(content.get("sha256"))
    if hashlib.sha256(text.replace(sum_.encode(), _NO_SUM.encode(), 1)).hexdigest() != sum_:
        raise CheckpointError(f"{path} is damaged: its content has another SHA-256 than it says")
    if content.get("version") != _VERSION:
        raise CheckpointError(
            f"{path} has version {content['version']} of the format and this snnlib reads version {_VERSION}: "
            "go on with the snnlib that wrote it"
        )
    return content


def _encode(value: Any, where: str) -> Any:
    """Return a value in the types of JSON; `where` names it in errors."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {_FLOAT: repr(value)}
    if type(value) in (list, tuple):
        return [_encode(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if type(value) is dict and all(type(key) is str and key != _FLOAT for key in value):
        return {key: _encode(v, f"{where}[{key!r}]") for key, v in value.items()}
    raise TypeError(
        f"{where} is {value!r} of type {type(value).__name__}; a checkpoint keeps None, bool, int, float, str, "
        "lists and dicts with keys of type str, and arrays among its tensors"
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(v) for v in value]
    if isinstance(value, dict):
        return float(value[_FLOAT]) if _FLOAT in value else {key: _decode(v) for key, v in value.items()}
    return value


def _make(folder: Path) -> None:
    """Make a folder and those above it, each noted on the disk."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _sync(made.parent)


def _saved_steps(folder: Path) -> list[int]:
    """Return the steps of which there is a checkpoint, in rising order; refuse a folder that belongs to others."""
    names = [entry.name for entry in folder.iterdir()]
    steps = sorted(int(match[1]) for match in map(_JSON.fullmatch, names) if match)
    others = sorted(name for name in names if not name.startswith(".") and not _TENSORS.fullmatch(name))
    if others and not steps:
        some = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        raise CheckpointError(f"{folder} holds {some} and no checkpoint: name a new or an empty folder for checkpoints")
    return steps


def _write(path: Path, data: bytes) -> None:
    """Give a file this content at once, or leave it as it was."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clean(folder: Path, earlier: list[int], step: int, tensor_file: str) -> None:
    """Remove all that is ours but the checkpoints of `earlier` and of `step`, the JSON first: it makes a checkpoint."""
    for pattern in (_JSON, _TENSORS, _TEMPORARY):
        for entry in folder.iterdir():
            match = pattern.fullmatch(entry.name)
            if not match:
                continue
            of = int(match[1]) if match.groups() else None
            if of not in (step, *earlier) or (of == step and pattern is _TENSORS and entry.name != tensor_file):
                entry.unlink(missing_ok=True)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing, and the checkpoint is damaged without it") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {_advice(error)}") from error


def _advice(error: OSError) -> str:
    """Say in words what the file system refuses, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{error.strerror}; free some space and start the run again: it goes on from the last checkpoint"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.strerror}; name a folder that this user may read and write"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{error.filename} is a file; name a folder"
    return f"{error.strerror or error}"
