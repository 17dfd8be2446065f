"""A tiny Fashion-MNIST of random pixels, and a server that hands it out, well or badly, for the tests of data sets."""

import gzip
import hashlib
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

COUNTS = {"train": 7, "t10k": 3}


def idx(array):
    """The bytes of an IDX file, written down from the definition of the format."""
    array = np.asarray(array, np.uint8)
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def tiny_arrays():
    """{"train": (pixels, labels), "t10k": (pixels, labels)}"""
    rng = np.random.default_rng(0)
    return {
        part: (rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8))
        for part, n in COUNTS.items()
    }


def tiny_files():
    """{name: content} of the four files."""
    files = {}
    for part, (pixels, labels) in tiny_arrays().items():
        files[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(idx(pixels), mtime=0)
        files[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(idx(labels), mtime=0)
    return files


FILES = tiny_files()
MD5 = {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()}


def lay_out(folder, **changed):
    """Write the four files into folder/fashion-mnist, the named ones (train_images=...) with another content."""
    (folder / "fashion-mnist").mkdir(parents=True)
    for name, content in FILES.items():
        key = "_".join(name.split("-")[:2])
        (folder / "fashion-mnist" / name).write_bytes(changed.get(key, content))
    return folder


def listing(folder):
    """Everything below a folder, hidden or not."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


COMPLETE = sorted(["fashion-mnist", *(f"fashion-mnist/{name}" for name in FILES)])


class Handler(BaseHTTPRequestHandler):
    """Answers /BEHAVIOUR/NAME; what a behaviour does is the method of that name."""

    def do_GET(self):
        _, behaviour, name = self.path.split("/")
        self.server.asked.append(name)
        getattr(self, behaviour)(FILES[name])

    def log_message(self, *_):
        pass

    def answer(self, content, length=None, status=200):
        self.send_response(status)
        if length != "unknown":
            self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def good(self, content):
        self.answer(content)

    def without_length(self, content):
        self.answer(content, "unknown")

    def drop(self, content):
        self.answer(content[: len(content) // 2], len(content))

    def drop_first(self, content):
        (self.drop if len(self.server.asked) == 1 else self.good)(content)

    def hang_up(self, content):
        pass

    def truncate(self, content):
        self.answer(content[: len(content) // 2])

    def corrupt(self, content):
        self.answer(content[:-1] + bytes([content[-1] ^ 1]))

    def page(self, content):
        self.answer(b"\n<!DOCTYPE html>\n<html><body>Please log in</body></html>")

    def text(self, content):
        self.answer(b"come back later")

    def nothing(self, content):
        self.answer(b"")

    def missing(self, content):
        self.answer(b"no such key", status=404)

    def unavailable(self, content):
        self.answer(b"busy", status=503)

    def endless(self, content):
        self.answer(b"", "unknown")
        while True:
            self.wfile.write(b"\x1f\x8b" * 2**15)

    def silent(self, content):
        self.server.reached.set()
        self.server.released.wait(60)

    def half(self, content):
        self.drop(content)
        self.silent(content)

    def trickle(self, content):
        self.answer(b"", len(content))
        for byte in content:
            self.wfile.write(bytes([byte]))
            time.sleep(0.02)

    def together(self, content):
        """Hold the first file back until two processes have asked for it."""
        if self.path.endswith(next(iter(FILES))):
            self.server.two.wait(60)
        self.good(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []  # names, in the order in which they were asked for
        self.reached, self.released, self.two = threading.Event(), threading.Event(), threading.Barrier(2)

    def url(self, behaviour):
        return f"http://127.0.0.1:{self.server_port}/{behaviour}/"

    def handle_error(self, request, client_address):
        pass  # the other side has gone, as it should


@contextmanager
def serving():
    """A running `Server`."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def command(url, *arguments, before=""):
    """Start `python -m snnlib ARGUMENTS` in a process of its own, for which the tiny set at url is the official one."""
    program = (
        "import runpy, signal, sys, snnlib.datasets as d\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in what a shell runs in the background
        f"import dataclasses\nd._FASHION = dataclasses.replace(d._FASHION, url={url!r}, md5={MD5!r})\n"
        "d._RETRIES = 0\n"
        f"sys.argv = ['snnlib', *{[str(a) for a in arguments]!r}]\n"
        f"{before}\n"
        "runpy.run_module('snnlib', run_name='__main__')\n"
    )
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], stdout=pipe, stderr=pipe, text=True)
