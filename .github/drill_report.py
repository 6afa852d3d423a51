"""Makes the README's picture from a real report: the verdicts, and one drill's timeline.

    seatrial run smoke L1 L2 L4 F8 D1 --seed 7 --report out && python .github/drill_report.py out F8

Needs chromium on PATH.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "drill-report.png"
WIDTH_PX = 1280
DRAWN_WITHIN_MS = 60_000
#: all but the top, the verdicts, and that drill's heading and timeline
CROP = """
    .drill:not(#drill-{drill}), main > .bar, main > .meaning, main > h2, footer {{ display: none }}
    #drill-{drill} {{ margin-top: 20px }}
    #drill-{drill} .body > *:not(.legend):not(.figure-box) {{ display: none }}
"""


def main() -> int:
    if len(sys.argv) != 3:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    report, drill = Path(sys.argv[1]).resolve() / "report.html", sys.argv[2]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": WIDTH_PX, "height": 900})
        page.goto(f"{report.as_uri()}#drill-{drill}")
        page.locator(f"#drill-{drill} .figure-box").scroll_into_view_if_needed()
        page.wait_for_selector(f"#drill-{drill} .figure-box[data-drawn]", timeout=DRAWN_WITHIN_MS)
        page.add_style_tag(content=CROP.format(drill=drill))
        page.screenshot(path=PICTURE, full_page=True)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
