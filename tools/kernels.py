"""The settings that every kernel of the course runs under, whoever starts it."""

import os
from pathlib import Path

KERNEL_CONFIG = """\
c.IPKernelApp.log_level = 40  # at a lower level each start of a kernel warns that local traffic is not encrypted
c.HistoryManager.enabled = False
"""


def isolate(build):
    """Keep the reader's own Jupyter and IPython settings out of the kernels started from this process.

    `build` is the folder that the course's settings are written to. The environment's own kernel comes first, so
    that a kernel of the same name in the reader's home is not taken for it. A relative SNN_DATA is made absolute.
    """
    folder = Path(build) / "ipython"
    config = folder / "profile_default" / "ipython_kernel_config.py"
    if not config.exists() or config.read_text() != KERNEL_CONFIG:
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(KERNEL_CONFIG)
    os.environ["IPYTHONDIR"] = str(folder)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    if os.environ.get("SNN_DATA"):  # a chapter runs in its own folder, where a relative path would mean another place
        os.environ["SNN_DATA"] = str(Path(os.environ["SNN_DATA"]).resolve())
