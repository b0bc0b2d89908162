"""Reports of a run: terminal, Markdown, HTML, JSON and JUnit XML, the verdict first in each."""

from __future__ import annotations

from promptbot.evals.records import save_json, save_text
from promptbot.evals.report.curve import curve_picture
from promptbot.evals.report.html import render_html
from promptbot.evals.report.junit import render_junit
from promptbot.evals.report.markdown import CURVE_FILE, render_markdown
from promptbot.evals.summary import Summary


def save_reports(summary: Summary) -> None:
    """Write metrics.json, report.md, report.html and junit.xml into the run's folder."""
    save_json(summary.folder / "metrics.json", summary.to_dict())
    save_text(summary.folder / "report.md", render_markdown(summary))
    save_text(summary.folder / "report.html", render_html(summary))
    save_text(summary.folder / "junit.xml", render_junit(summary))
    if summary.curve:
        picture = str(curve_picture(summary.curve, alone=True))
        save_text(summary.folder / CURVE_FILE, picture)
