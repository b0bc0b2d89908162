"""The report as JUnit XML: a build server shows verdicts, the gate and failed answers as tests."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from promptbot.evals.summary import Summary

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold."""


def render_junit(summary: Summary) -> str:
    """Return the report of a run as JUnit XML.

    Each condition of the gate is a test case, and fails where it was not met. Each comparison is
    one, and always passes: a verdict is a finding, no failure. Failed answers are errors.
    """
    suite = ElementTree.Element("testsuite", name=_clean(summary.suite))
    n_failures = 0
    for result in summary.gate:
        case = _case(suite, "gate", result.text)
        if result.met:
            _say(case, result.reason)
        else:
            n_failures += 1
            ElementTree.SubElement(case, "failure", message=_clean(result.reason))
    for comparison in summary.comparisons:
        _say(_case(suite, "verdict", comparison.name), comparison.sentence)
    failed = [record for record in summary.records.values() if record.error is not None]
    for record in failed:
        case = _case(suite, f"answers.{record.column}", f"{record.sample} seed {record.seed}")
        ElementTree.SubElement(case, "error", message=_clean(record.error or ""))
    n_tests = len(summary.gate) + len(summary.comparisons) + len(failed)
    suite.set("tests", str(n_tests))
    suite.set("failures", str(n_failures))
    suite.set("errors", str(len(failed)))
    suite.set("timestamp", str(summary.manifest["started"]))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, group: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=_clean(f"{suite.get('name')}.{group}"), name=_clean(name)
    )


def _say(case: ElementTree.Element, text: str) -> None:
    ElementTree.SubElement(case, "system-out").text = _clean(text)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
