"""Take the pictures of TensorBoard's tabs: `python docs/screenshots.py [FOLDER]`.

FOLDER holds runs in `runs`; without it two short ones are trained first, which takes some minutes. Needs the extra
`docs`, and Chromium with its driver: on Debian `apt-get install chromium chromium-driver`.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

PICTURES = Path(__file__).parent / "pictures"
TRAIN = "train point-navigation --film --iterations 60 --eval-every 5 --method"
METHODS = ("maml", "promp")

TABS = {
    "timeseries": (1300, 800, "document.querySelector('[aria-label=\"Close side pane\"]').click()"),
    "scalars": (1300, 760, ""),
    "custom_scalars": (1300, 900, ""),
    "images": (1300, 960, ""),
    "histograms": (1300, 640, ""),
    "text": (1300, 760, ""),
    "hparams": (2080, 330, ""),
}
"""Each tab: width and height of its picture in pixels, and what is done to its page first."""


def main(folder: Path | None) -> None:
    """Take the pictures."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            train(folder)
        address = stack.enter_context(tensorboard(folder))
        browser = stack.enter_context(chromium())
        for tab, (width, height, script) in TABS.items():
            browser.get("about:blank")  # a new fragment alone would not load the page anew
            browser.set_window_size(width, height)
            browser.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
            )
            browser.get(f"{address}/#{tab}")
            settled(browser)
            browser.execute_script(script)
            picture = settled(browser)
            file = PICTURES / f"tensorboard-{tab.replace('_', '-')}.png"
            picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)
            print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


def train(folder: Path) -> None:
    """Train the runs that are shown."""
    metarl = Path(sys.executable).with_name("metarl")
    for method in METHODS:
        subprocess.run([metarl, *TRAIN.split(), method, "--log-dir", f"runs/{method}"], cwd=folder, check=True)


@contextlib.contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """Serve the runs of a folder; gives the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", "runs", "--load_fast", "false"]
    server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", port], cwd=folder)
    try:
        _wait_for(f"http://127.0.0.1:{port}/data/plugin/custom_scalars/layout")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _wait_for(url: str, seconds: float = 120) -> None:
    """Wait until a server has read the runs."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
            if answer.read() not in (b"", b"{}"):
                return
        if time.monotonic() > end:
            raise TimeoutError(url)
        time.sleep(0.5)


@contextlib.contextmanager
def chromium() -> Iterator[Chrome]:
    """Start the browser that is installed; selenium would download another."""
    options = Options()
    options.binary_location = _found("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(argument)
    browser = Chrome(options=options, service=Service(_found("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise SystemExit(f"{program} is not installed; on Debian: apt-get install chromium chromium-driver")
    return path


def settled(browser: Chrome, quiet: int = 4, seconds: float = 60) -> Image.Image:
    """Return the page once it has not changed for some seconds; films go on for ever, and end the wait."""
    end, last, same = time.monotonic() + seconds, b"", 0
    while same < quiet and time.monotonic() < end:
        time.sleep(1)
        now = browser.get_screenshot_as_png()
        same, last = (same + 1 if now == last else 0), now
    return Image.open(io.BytesIO(last))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
