"""The Chromium that prints the book and opens its pages in tests: where it is, and what to say where there is none."""

import os
import shutil

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no Chromium: install it (Debian: apt-get install chromium) or name one in CHROMIUM"


def chromium_path():
    """Return the path of an installed Chromium, or None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
