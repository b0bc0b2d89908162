from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptbot.bot.folder import shipped_bots_folder
from promptbot.data import check_k, load_examples, load_notes, scan_examples, scan_notes
from promptbot.errors import DataError
from promptbot.types import Example, Note


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_examples_keep_their_line(tmp_path: Path) -> None:
    file = write(
        tmp_path / "e.jsonl",
        '{"input": "a", "output": "b"}\n\n{"input": " c ", "output": "d", "more": 1}\n',
    )
    assert load_examples(file) == [Example("a", "b", line=1), Example("c", "d", line=3)]


def test_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    file = write(tmp_path / "e.jsonl", b'\xef\xbb\xbf{"input": "a", "output": "b"}\r\n\r\n')
    assert load_examples(file) == [Example("a", "b", line=1)]


def test_broken_line_17_is_named(tmp_path: Path) -> None:
    lines = ['{"input": "a", "output": "b"}'] * 20
    lines[16] = '{"input": "a", "output": }'
    with pytest.raises(DataError, match=r"e\.jsonl, line 17: this line is not JSON at column 26"):
        load_examples(write(tmp_path / "e.jsonl", "\n".join(lines)))


def test_scan_reports_every_broken_line_and_goes_on(tmp_path: Path) -> None:
    file = write(tmp_path / "e.jsonl", '[1]\n{"input": "a", "output": "b"}\n{"input": 3}\n"x"\n')
    kinds = [type(item).__name__ for item in scan_examples(file)]
    assert kinds == ["DataError", "Example", "DataError", "DataError"]


def test_missing_field_names_what_was_found_and_the_nearest_word(tmp_path: Path) -> None:
    file = write(tmp_path / "e.jsonl", '{"input": "a", "ouput": "b"}\n')
    with pytest.raises(DataError) as caught:
        load_examples(file)
    assert 'field "output" is missing' in str(caught.value)
    assert "Found: input, ouput." in str(caught.value)
    assert 'Is it "ouput" for "output"?' in str(caught.value)


@pytest.mark.parametrize("value", ["null", "3", '""', '"  "', '["a"]'])
def test_a_field_must_be_a_text(tmp_path: Path, value: str) -> None:
    file = write(tmp_path / "e.jsonl", f'{{"input": "a", "output": {value}}}\n')
    with pytest.raises(DataError, match="line 1"):
        load_examples(file)


def test_label_outside_the_verbalizer_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    file = write(tmp_path / "e.jsonl", '{"input": "a", "label": "card_lst"}\n')
    with pytest.raises(DataError, match='Did you mean "card_lost"'):
        load_examples(file, {"card_lost": ["lost card"]})


def test_output_of_a_labelled_example_is_the_first_wording(tmp_path: Path) -> None:
    file = write(tmp_path / "e.jsonl", '{"input": "a", "label": "card_lost"}\n')
    example = load_examples(file, {"card_lost": ["lost card", "missing card"]})[0]
    assert (example.output, example.label) == ("lost card", "card_lost")


def test_bytes_that_are_not_utf8_are_named_by_line(tmp_path: Path) -> None:
    file = write(tmp_path / "e.jsonl", b'{"input": "a", "output": "b"}\n{"input": "\xff"}\n')
    with pytest.raises(DataError, match=r"line 2: byte 12 is not UTF-8"):
        load_examples(file)


def test_missing_file_suggests_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path / "examples.jsonl", "")
    with pytest.raises(DataError, match=r'Did you mean "examples\.jsonl"'):
        load_examples(tmp_path / "exmples.jsonl")


def test_a_hundred_megabytes_are_read_line_by_line(tmp_path: Path) -> None:
    row = json.dumps({"input": "x" * 1_000_000, "output": "y"}) + "\n"
    file = tmp_path / "big.jsonl"
    with file.open("w") as out:
        for _ in range(100):
            out.write(row)
    first, *_ = (item for item in scan_examples(file))
    assert isinstance(first, Example)
    assert len(first.input) == 1_000_000


def test_csv_holds_examples_and_quoted_line_breaks(tmp_path: Path) -> None:
    file = write(tmp_path / "e.csv", 'input,output\r\n"a, b","c\nd"\r\ne,f\r\n')
    assert load_examples(file) == [
        Example("a, b", "c\nd", line=2),
        Example("e", "f", line=4),
    ]


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_csv_without_commas_is_told_with_its_separator(
    tmp_path: Path, mark: str, name: str
) -> None:
    with pytest.raises(DataError, match=f"separated by {name}, not by commas"):
        load_examples(write(tmp_path / "e.csv", f"input{mark}output\na{mark}b\n"))


def test_csv_row_of_another_length_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3: this row has another number of fields"):
        load_examples(write(tmp_path / "e.csv", "input,output\na,b\na,b,c\n"))


def test_notes_from_jsonl_name_their_source(tmp_path: Path) -> None:
    file = write(tmp_path / "k.jsonl", '{"question": "Q", "answer": "A", "id": "x"}\n')
    assert load_notes(file) == [Note("Q", "A", source="k.jsonl:1")]


def test_markdown_is_split_at_headings_but_not_in_code(tmp_path: Path) -> None:
    file = write(
        tmp_path / "k.md",
        "Intro.\n\n# One\nFirst.\n\n```\n# not a heading\n```\n## Two\n\nSecond.\n",
    )
    assert load_notes(file) == [
        Note("", "Intro.", source="k.md:1"),
        Note("One", "First.\n\n```\n# not a heading\n```", source="k.md:3"),
        Note("Two", "Second.", source="k.md:9"),
    ]


def test_sections_are_those_of_langchains_markdown_splitter(tmp_path: Path) -> None:
    from langchain_text_splitters import MarkdownHeaderTextSplitter

    fenced = "# Code\n\nWrite\n\n```\n# no heading\n```\n\n## Below\n\nIt runs.\n"
    shipped = (shipped_bots_folder() / "tutor" / "study.md").read_text(encoding="utf-8")
    splitter = MarkdownHeaderTextSplitter([("#", "one"), ("##", "two")], strip_headers=True)
    for text in (fenced, shipped):
        (tmp_path / "a.md").write_text(text, encoding="utf-8")
        theirs = splitter.split_text(text)
        ours = load_notes(tmp_path / "a.md")
        assert [note.question for note in ours] == [
            one.metadata.get("two") or one.metadata["one"] for one in theirs
        ]
        assert [note.answer.split() for note in ours] == [
            one.page_content.split() for one in theirs
        ]
        assert len(ours) > 1


def test_a_table_of_notes_is_read_as_pandas_reads_it(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    files = [shipped_bots_folder() / "tutor" / "glossary.csv", tmp_path / "a.csv"]
    files[1].write_text(
        'question,answer,source\r\n"What, then?","He said ""no"".\nTwice.",x\r\nÄ?,ü,y\r\n',
        encoding="utf-8-sig",
        newline="",
    )
    for file in files:
        theirs = pandas.read_csv(file, encoding="utf-8-sig")
        ours = [(note.question, note.answer, note.source) for note in load_notes(file)]
        assert ours == list(theirs.itertuples(index=False, name=None))
        assert len(ours) > 1


def test_a_folder_stands_for_the_files_within_it(tmp_path: Path) -> None:
    write(tmp_path / "b.md", "# B\nb\n")
    write(tmp_path / "a.jsonl", '{"question": "A", "answer": "a"}\n')
    assert [note.question for note in load_notes(tmp_path)] == ["A", "B"]


def test_a_folder_without_notes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no notes"):
        load_notes(tmp_path)


def test_check_k_names_the_place_and_the_next_step() -> None:
    with pytest.raises(DataError) as raised:
        check_k(12, 8, "templates/shop/bot.yaml, line 8")
    assert str(raised.value) == (
        "templates/shop/bot.yaml, line 8: asks for k = 12 examples, the pool holds 8.\n"
        "Expected a k from 0 to 8.\n"
        "Lower k, or add examples."
    )


texts = st.text(min_size=1).map(str.strip).filter(bool)


@given(pairs=st.lists(st.tuples(texts, texts)))
def test_what_json_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    file = tmp_path_factory.mktemp("data") / "e.jsonl"
    file.write_text("".join(json.dumps({"input": i, "output": o}) + "\n" for i, o in pairs))
    assert [(e.input, e.output) for e in load_examples(file)] == pairs


def test_a_notes_own_source_stands_for_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "faq.csv"
    file.write_text(
        "question,answer,source\nDelivery?,Two days.,handbook p. 4\nReturns?,30 days.,\n"
    )
    assert [note.source for note in load_notes(file)] == ["handbook p. 4", "faq.csv:3"]


def test_a_source_that_is_no_text_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "faq.jsonl"
    file.write_text('{"question": "Q", "answer": "A", "source": 7}\n')
    with pytest.raises(DataError, match=r'line 1: field "source" is 7\.'):
        load_notes(file)


def test_files_of_one_name_in_two_folders_have_two_sources(tmp_path: Path) -> None:
    for name in ("shop", "web"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "faq.md").write_text("# Hours\nNine to five.\n")
    assert [note.source for note in load_notes(tmp_path)] == ["shop/faq.md:1", "web/faq.md:1"]


@pytest.mark.parametrize("name", ["notes.md", "notes.jsonl", "notes.csv"])
def test_a_binary_file_among_the_notes_is_one_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.md").write_text("# Hours\nNine to five.\n")
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\n\x00" * 40)
    found = list(scan_notes(tmp_path))
    assert [type(item) for item in found] == [Note, DataError]
    assert f"{name}: byte 9 is zero, so this is not a UTF-8 text." in str(found[1])


def test_utf_16_is_told_apart_from_broken_json(tmp_path: Path) -> None:
    file = tmp_path / "examples.jsonl"
    file.write_text('{"input": "Hi", "output": "Hello"}\n', encoding="utf-16")
    with pytest.raises(DataError, match="UTF-16 has zero bytes too"):
        load_examples(file)


def test_a_file_of_another_kind_in_the_folder_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Hours\nNine to five.\n")
    (tmp_path / ".hidden").write_bytes(b"\0")
    assert len(load_notes(tmp_path)) == 1
    (tmp_path / "manual.pdf").write_bytes(b"%PDF-1.7")
    with pytest.raises(
        DataError, match=r'manual\.pdf: knowledge cannot be read from a file .*"\.pdf"'
    ):
        load_notes(tmp_path)


def test_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("# Key\n1234\n")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").symlink_to(tmp_path / "secret.md")
    with pytest.raises(DataError, match="leads out of the folder"):
        load_notes(tmp_path / "notes")
