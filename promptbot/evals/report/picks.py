"""The report of a person's picks between two variants: the verdict first, then every pair."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from promptbot.evals.records import save_json, save_text
from promptbot.evals.report.axes import Axes, line, text, ticks
from promptbot.evals.report.html import make_environment
from promptbot.evals.report.markdown import escape, table_lines
from promptbot.evals.sequential import ALPHA, judge_picks
from promptbot.picks import Pick, PickSummary

METHOD = (
    "Both variants answered the same message after the same conversation; the replies were shown "
    "in random order and the person did not know which was which. The test bets on every decided "
    "pick (ties are left out): its e-value is the wealth won against even odds, 1 over the "
    "greatest wealth is an always-valid p, and 20 decides. However often one looks, and whenever "
    "one stops, a preference that is not there is told in at most 5 of 100 cases (Ramdas et al. "
    "2023, arXiv:2210.01948; Waudby-Smith and Ramdas 2024, arXiv:2010.09686)."
)


def save_pick_reports(summary: PickSummary) -> None:
    """Write metrics.json, report.md and report.html into the run's folder."""
    save_json(summary.folder / "metrics.json", summary.to_dict())
    save_text(summary.folder / "report.md", render_picks_markdown(summary))
    save_text(summary.folder / "report.html", render_picks_html(summary))


def render_picks_markdown(summary: PickSummary) -> str:
    """Return the report as Markdown."""
    return "\n".join(_markdown(summary)) + "\n"


def render_picks_html(summary: PickSummary) -> str:
    """Return the report as one HTML file that needs nothing else."""
    return (
        make_environment()
        .get_template("picks.html.j2")
        .render(
            summary=summary,
            numbers=pick_numbers(summary),
            chart=_chart(summary),
            pairs=[(pick, _picked(pick)) for pick in summary.picks],
            method=METHOD,
        )
    )


def render_picks_csv(summary: PickSummary) -> str:
    """Return every pair as a row of CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    one, two = summary.names
    writer.writerow(["input", one, two, "shown_first", "picked", "said"])
    for pick in summary.picks:
        shown_first = next(iter(pick.replies))
        writer.writerow(
            [pick.input, pick.replies[one], pick.replies[two], shown_first, _picked(pick),
             pick.said]
        )  # fmt: skip
    return out.getvalue()


def pick_numbers(summary: PickSummary) -> list[tuple[str, str]]:
    """Return what was counted, each number with its name."""
    standing = summary.standing
    numbers = [
        (f"picked {name}", str(n))
        for name, n in zip(standing.names, standing.n_picked, strict=True)
    ]
    numbers += [("neither", str(standing.n_ties)), ("skipped", str(summary.n_skipped))]
    numbers += [
        (f"e-value ({1 / ALPHA:.0f} decides)", f"{standing.e_value:.3g}"),
        ("always-valid p", f"{standing.p_value:.3g}"),
    ]
    if standing.interval and standing.n_decided:
        low, high = standing.interval.low, standing.interval.high
        numbers.append((f"share of {standing.names[0]}, 95%", f"{low:.0%} to {high:.0%}"))
    return numbers


def _markdown(summary: PickSummary) -> Iterator[str]:
    yield f"# {escape(summary.suite)}: {escape(summary.standing.sentence)}"
    yield ""
    yield from table_lines(["", ""], [list(row) for row in pick_numbers(summary)])
    one, two = summary.names
    yield from table_lines(
        ["message", one, two, "picked"],
        [
            [pick.input, pick.replies[one], pick.replies[two], _picked(pick)]
            for pick in summary.picks
        ],
    )
    yield METHOD


def _picked(pick: Pick) -> str:
    return "(skipped)" if pick.skipped else pick.winner or "neither"


def _chart(summary: PickSummary) -> Markup:
    """Return the share of the first variant with its interval after each pick; empty before 2."""
    judged = [pick.winner for pick in summary.picks if not pick.skipped]
    rows = _path(summary.names, judged)
    if len(rows) < 2:
        return Markup("")
    shares = tuple(i / 4 for i in range(5))
    axes = Axes(
        ticks(0.0, float(rows[-1][0]), 6),
        shares,
        "decided picks",
        f"share that prefers {summary.names[0]}",
        width=640,
        height=260,
    )
    inside = [line("zero", axes.x(rows[0][0]), axes.y(0.5), axes.x(rows[-1][0]), axes.y(0.5))]
    for n, share, low, high in rows:
        inside.append(line("interval", axes.x(n), axes.y(low), axes.x(n), axes.y(high)))
        inside.append(
            Markup('<circle class="reference" cx="{}" cy="{}" r="2.5"/>').format(
                axes.x(n), axes.y(share)
            )
        )
    last = rows[-1]
    inside.append(text("name", axes.x(last[0]) - 8, axes.y(last[1]) - 8, f"{last[1]:.0%}", "end"))
    return axes.draw("The preference after each pick", inside, lambda v: f"{v:g}")


def _path(
    names: tuple[str, str], judged: Sequence[str | None]
) -> list[tuple[int, float, float, float]]:
    """Return number, share and interval after each decided pick, at most about a hundred."""
    decided = [pick for pick in judged if pick is not None]
    step = max(1, len(decided) // 100)
    rows = []
    for n in range(1, len(decided) + 1):
        if n % step and n != len(decided):
            continue
        found = judge_picks(names, decided[:n])
        if found.interval:
            rows.append((n, found.n_picked[0] / n, found.interval.low, found.interval.high))
    return rows
