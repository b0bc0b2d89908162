"""The picture of a report for the documentation: what a browser shows of a real run's page, as PNG.

    promptbot eval banking77 --limit 300
    python docs/pictures/report.py [RUN]

Needs chromium on the PATH. RUN is a run's folder or name; the newest one when left out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from promptbot.evals.records import find_run

PICTURE = Path(__file__).parent / "report.png"
WIDTH, HEIGHT = 1200, 1540
"""As much of the page as tells the verdict, its evidence, and what it costs."""


def main(run: str = "last") -> None:
    """Take the picture."""
    page = find_run(run) / "report.html"
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("chromium is not on the PATH.")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}",
             f"--screenshot={PICTURE}", page.resolve().as_uri()],
            check=True,
            capture_output=True,
            timeout=120,
        )  # fmt: skip
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:2])
