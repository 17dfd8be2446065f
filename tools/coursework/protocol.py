"""Messages between the trusted process and the student's: JSON with raw bytes behind it, and nothing that can run.

A message is a length, a JSON object, and blobs (the bytes of arrays), whose lengths the JSON announces. Plain data is
None, bool, int, float, complex, str, bytes, list, tuple, dict with str keys, and NumPy arrays and scalars of numeric
or bool dtype, each of exactly that type: what is a subclass, or anything else, is left to `wrap`, which may name it by
a reference. Whoever receives believes nothing: lengths, types, shapes and depth are checked before anything is built.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from math import prod

import numpy as np

MAX_TEXT = 8 << 20  # bytes of JSON in a message
MAX_BLOBS = 64 << 20  # bytes of arrays in a message
MAX_DEPTH = 40
SMALL_INT = 1 << 63
DTYPES = frozenset("?bhilqBHILQefdFD")  # np.dtype.char: bool, integers, floats and complex up to 8 bytes a part
HEADER = struct.Struct(">I")


class ProtocolError(Exception):
    """The other side sent what is not a message."""


class TooLarge(Exception):  # noqa: N818
    """A value holds more than a message may carry."""


def is_numeric(dtype: np.dtype) -> bool:
    """Whether arrays of this dtype are plain data: native byte order or not, no fields, no objects."""
    return dtype.char in DTYPES and dtype.names is None and dtype.subdtype is None


def encode(value: object, blobs: list[bytes], wrap: Callable[[object], dict], depth: int = 0) -> object:
    """Return what stands for `value` in JSON; the bytes of arrays are appended to `blobs`.

    `wrap` turns what is not plain data into a JSON object, or raises. Raises TooLarge.
    """
    if depth > MAX_DEPTH:
        raise TooLarge("it is nested too deeply")
    kind = type(value)
    if value is None or kind in (bool, str, float) or (kind is int and abs(value) < SMALL_INT):
        return value
    if kind is int:
        return {"$": "int", "hex": hex(value)}
    if kind is complex:
        return {"$": "complex", "parts": [value.real, value.imag]}
    if kind is bytes:
        return {"$": "bytes", "blob": _add(blobs, value)}
    if kind is list:
        return [encode(item, blobs, wrap, depth + 1) for item in value]
    if kind is tuple:
        return {"$": "tuple", "items": [encode(item, blobs, wrap, depth + 1) for item in value]}
    if kind is dict and all(type(key) is str for key in value):
        return {"$": "dict", "items": {key: encode(item, blobs, wrap, depth + 1) for key, item in value.items()}}
    if kind is np.ndarray and is_numeric(value.dtype):
        if value.nbytes > MAX_BLOBS:
            raise TooLarge(f"an array of shape {value.shape} is too large")
        blob = _add(blobs, value.tobytes())
        return {"$": "array", "dtype": value.dtype.str, "shape": list(value.shape), "blob": blob}
    if issubclass(kind, np.generic) and np.dtype(kind).type is kind and is_numeric(np.dtype(kind)):
        return {"$": "scalar", "dtype": np.dtype(kind).str, "blob": _add(blobs, value.tobytes())}
    return wrap(value)


def _add(blobs: list[bytes], data: bytes) -> int:
    blobs.append(data)
    if sum(map(len, blobs)) > MAX_BLOBS:
        raise TooLarge("it holds too much data")
    return len(blobs) - 1


def decode(item: object, blobs: list[bytearray], unwrap: Callable[[dict], object], depth: int = 0) -> object:
    """Return the value that `item` stands for; `unwrap` gets what `wrap` made. Raises ProtocolError."""
    if depth > MAX_DEPTH:
        raise ProtocolError("nested too deeply")
    if item is None or type(item) in (bool, int, float, str):
        return item
    if type(item) is list:
        return [decode(part, blobs, unwrap, depth + 1) for part in item]
    match item:
        case {"$": "int", "hex": str(text)}:
            return _checked(int, text, 16)
        case {"$": "complex", "parts": [float() | int() as real, float() | int() as imag]}:
            return complex(real, imag)
        case {"$": "bytes", "blob": blob}:
            return bytes(_blob(blobs, blob))
        case {"$": "tuple", "items": list(parts)}:
            return tuple(decode(part, blobs, unwrap, depth + 1) for part in parts)
        case {"$": "dict", "items": dict(parts)}:
            return {key: decode(part, blobs, unwrap, depth + 1) for key, part in parts.items()}
        case {"$": "array", "dtype": str(dtype), "shape": list(shape), "blob": blob}:
            return _array(_dtype(dtype), shape, _blob(blobs, blob))
        case {"$": "scalar", "dtype": str(dtype), "blob": blob}:
            return _array(_dtype(dtype), [], _blob(blobs, blob))[()]
        case {"$": str()}:
            return unwrap(item)
    raise ProtocolError("unknown kind of value")


def _checked(make: Callable, *args: object) -> object:
    try:
        return make(*args)
    except (ValueError, TypeError, OverflowError) as error:
        raise ProtocolError(str(error)) from None


def _blob(blobs: list[bytearray], index: object) -> bytearray:
    if type(index) is not int or not 0 <= index < len(blobs):
        raise ProtocolError("no such data")
    return blobs[index]


def _dtype(text: str) -> np.dtype:
    dtype = _checked(np.dtype, text)
    if not is_numeric(dtype) or dtype.str != text:
        raise ProtocolError("not a dtype of plain data")
    return dtype


def _array(dtype: np.dtype, shape: list, data: bytearray) -> np.ndarray:
    if len(shape) > 32 or any(type(n) is not int or not 0 <= n < SMALL_INT for n in shape):
        raise ProtocolError("not a shape")
    if prod(shape) * dtype.itemsize != len(data):
        raise ProtocolError("shape and data do not agree")
    return _checked(np.frombuffer(data, dtype).reshape, shape)


class Channel:
    """A pair of pipes for messages: JSON objects whose values `encode` made, with their blobs."""

    def __init__(self, reader: int, writer: int):
        self.reader, self.writer = reader, writer

    def send(self, message: dict, blobs: list[bytes] = ()) -> None:
        """Write one message. Raises TooLarge, before anything is written, and OSError when nobody reads."""
        text = json.dumps({**message, "blobs": [len(blob) for blob in blobs]}).encode()
        if len(text) > MAX_TEXT or sum(map(len, blobs)) > MAX_BLOBS:
            raise TooLarge("it holds too much data")
        for part in (HEADER.pack(len(text)), text, *blobs):
            view = memoryview(part)
            while view:
                view = view[os.write(self.writer, view) :]

    def receive(self) -> tuple[dict, list[bytearray]]:
        """Read one message. Raises ProtocolError, and EOFError when the other side has closed."""
        (size,) = HEADER.unpack(self._read(HEADER.size))
        if size > MAX_TEXT:
            raise ProtocolError("a message too long")
        try:
            message = json.loads(self._read(size))
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"not JSON: {type(error).__name__}") from None
        if type(message) is not dict or type(sizes := message.pop("blobs", None)) is not list:
            raise ProtocolError("not a message")
        if any(type(n) is not int or n < 0 for n in sizes) or sum(sizes) > MAX_BLOBS:
            raise ProtocolError("data too long")
        return message, [self._read(n) for n in sizes]

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        view, done = memoryview(data), 0
        while done < size:
            count = os.readv(self.reader, [view[done:]])
            if count == 0:
                raise EOFError
            done += count
        return data
