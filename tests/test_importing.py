"""Prompty files and chat templates as bots."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain
from promptbot.errors import InputError, UserError
from promptbot.importing import import_file, literal
from promptbot.interchange import prompty_file
from promptbot.models.scripted import ScriptedModel
from promptbot.prompt.template import Template
from tests.cli.conftest import Cli, cli
from tests.conftest import BOT_YAML, BotMaker
from tests.encoders import HashingEncoder

__all__ = ["cli"]

# After the example of the format's own documentation, version 1.
OLD = """\
---
name: Contoso Help
description: A prompt that answers customers
authors: [Somebody]
model:
  api: chat
  configuration: {type: openai, name: gpt-4o-mini}
  parameters: {max_tokens: 128, temperature: 0, stop: "###", tools: [{type: function}]}
sample:
  firstName: Jane
  question: What tent is best?
---
system:
You help people. Today you help {{firstName}}.

# Style
Be brief.

user:
Hello, I am {{firstName}}

assistant:
Hello {{firstName}}!

user:
{{question}}
"""

NEW = """\
---
name: sorter
model:
  id: gpt-4o
  provider: openai
  apiType: chat
  options:
    temperature: 0.5
    maxOutputTokens: 40
    stopSequences: [END]
    response_format: {type: json_schema, json_schema: {name: a, schema: {type: object}}}
inputs:
  - {name: question, kind: string, default: Hi}
  - {name: shop, kind: string, default: Acme}
---
system:
You work at {{shop}}.

user:
The customer asks: {{question}}
"""


def write(tmp_path: Path, text: str, name: str = "a.prompty") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


def chain_of(folder: Path, *answers: str) -> tuple[Chain, ScriptedModel]:
    model = ScriptedModel(answers=list(answers))
    return Chain(load_bot(folder), model, encoder=HashingEncoder()), model


def test_a_file_of_version_1_becomes_a_bot(tmp_path: Path) -> None:
    made = import_file(write(tmp_path, OLD), tmp_path / "templates")
    bot = load_bot(made.folder)
    assert bot.name == made.folder.name == "Contoso_Help"
    assert bot.spec.model == "openai:gpt-4o-mini"
    assert bot.spec.decoding.max_new_tokens == 128
    assert bot.spec.decoding.stop == ["###"]
    chain, model = chain_of(made.folder, "x")
    chain.invoke("Which tent?")
    assert [(m.role, m.content) for m in model.prompts[0]] == [
        ("system", "You help people. Today you help Jane.\n\n# Style\nBe brief."),
        ("user", "Hello, I am Jane"),
        ("assistant", "Hello Jane!"),
        ("user", "Which tent?"),
    ]
    assert any("tools were left out" in remark for remark in made.remarks)


def test_a_file_of_version_2_becomes_a_bot(tmp_path: Path) -> None:
    made = import_file(write(tmp_path, NEW), tmp_path / "templates", "mine")
    bot = load_bot(made.folder)
    assert bot.name == "mine"
    assert bot.spec.decoding.temperature == 0.5
    assert bot.spec.output.format == "json"
    assert bot.json_schema == {"type": "object"}
    chain, model = chain_of(made.folder, "{}")
    assert chain.invoke("Open?").data == {}
    assert [m.content for m in model.prompts[0]] == [
        "You work at Acme.",
        "The customer asks: Open?",
    ]


@pytest.mark.parametrize("text", [OLD, NEW], ids=["version 1", "version 2"])
def test_messages_are_those_that_the_formats_own_reader_makes(tmp_path: Path, text: str) -> None:
    prompty = pytest.importorskip("prompty")

    file = write(tmp_path, text)
    theirs = prompty.prepare(prompty.load(file), {"question": "Which tent?", "firstName": "Jane"})
    chain, _ = chain_of(import_file(file, tmp_path / "templates").folder, "x")
    ours = chain.compose("Which tent?").messages
    assert [(m.role, m.content) for m in ours] == [(m.role, m.text) for m in theirs]


def test_the_formats_own_reader_reads_what_is_exported(make_bot: BotMaker, tmp_path: Path) -> None:
    prompty = pytest.importorskip("prompty")

    decoding = "decoding: {temperature: 0.7, top_k: 40, min_p: 0.05, stop: [END]}\n"
    files = {
        "bot.yaml": f"{BOT_YAML}model: openai:gpt-4o-mini\n{decoding}",
        "turn.j2": "Q: {{ input }}\nA:",
        "system.j2": "Say {{ '{{ x }}' }} at {{ company }}.",
    }
    chain, _ = chain_of(make_bot(files=files), "x")
    file = write(tmp_path, prompty_file(chain.bot, chain.compose("Open?"), "Open?"))
    read = prompty.load(file)
    assert (read.name, read.model.provider, read.model.id) == ("shop", "openai", "gpt-4o-mini")
    options = read.model.options
    assert (options.temperature, options.top_k, options.max_output_tokens) == (0.7, 40, 80)
    assert (options.stop_sequences, options.additional_properties) == (["END"], {"min_p": 0.05})
    for question in ("Open?", "And where?"):
        ours = chain.compose(question).messages
        theirs = prompty.prepare(read, {"input": question})
        assert [(m.role, m.text) for m in theirs] == [(m.role, m.content) for m in ours]
    assert prompty.prepare(read)[-1].text == "Q: Open?\nA:"  # the default


LOOP = """\
{% for item in chat_history %}
{{item.role}}:
{{item.content}}
{% endfor %}
"""


def test_a_loop_over_the_history_is_left_to_the_bots_memory(tmp_path: Path) -> None:
    text = OLD.replace("# Style\nBe brief.\n", f"Be brief.\n\n{LOOP}")
    made = import_file(write(tmp_path, text), tmp_path / "templates")
    chain, model = chain_of(made.folder, "x", "y")
    chain.invoke({"input": "Which tent?", "session": "a"})
    chain.invoke({"input": "And a stove?", "session": "a"})
    assert [m.content for m in model.prompts[1]] == [
        "You help people. Today you help Jane.\n\nBe brief.",
        "Hello, I am Jane",
        "Hello Jane!",
        "Which tent?",
        "x",
        "And a stove?",
    ]
    assert any("the loop over chat_history was left out" in remark for remark in made.remarks)


def test_the_fields_of_an_output_are_a_schema(tmp_path: Path) -> None:
    prompty = pytest.importorskip("prompty")

    outputs = "outputs:\n- {name: city, kind: string, description: Its name}\n"
    outputs += "- {name: warm, kind: float}\n"
    form = (
        "    response_format: {type: json_schema, json_schema: {name: a, schema: {type: object}}}\n"
    )
    assert form in NEW
    file = write(tmp_path, NEW.replace(form, "").replace("inputs:\n", f"{outputs}inputs:\n"))
    made = import_file(file, tmp_path / "templates")
    assert load_bot(made.folder).json_schema == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Its name"},
            "warm": {"type": "number"},
        },
        "required": ["city", "warm"],
        "additionalProperties": False,
    }
    assert [(one.name, one.kind) for one in prompty.load(file).outputs] == [
        ("city", "string"),
        ("warm", "float"),
    ]


def test_a_bot_survives_the_way_there_and_back(make_bot: BotMaker, tmp_path: Path) -> None:
    folder = make_bot(
        files={
            "system.j2": "Say {{ '{{ x }}' }} and {{ '{% y %}' }} at {{ company }}.\nÄ: ü",
            "turn.j2": "Q: {{ input }}\nA:",
            "knowledge.jsonl": '{"question": "When?", "answer": "Now."}\n',
        }
    )
    chain, model = chain_of(folder, "x")
    prompt = chain.compose("How far?")
    file = write(tmp_path, prompty_file(chain.bot, prompt, "How far?"))
    made = import_file(file, tmp_path / "templates", "back")
    again = Chain(load_bot(made.folder), model, encoder=HashingEncoder()).compose("How far?")
    assert again.messages == prompt.messages
    assert "{{ x }} and {% y %}" in prompt.messages[0].content
    other = Chain(load_bot(made.folder), model, encoder=HashingEncoder()).compose("And now?")
    assert other.messages[-1].content == "Q: And now?\nA:"


def test_decoding_survives_the_way_there_and_back(make_bot: BotMaker, tmp_path: Path) -> None:
    decoding = (
        "decoding: {temperature: 0.7, top_p: 0.9, top_k: 40, min_p: 0.05, "
        "repetition_penalty: 1.1, max_new_tokens: 33, stop: [END]}\n"
    )
    chain, _ = chain_of(make_bot(files={"bot.yaml": BOT_YAML + decoding}), "x")
    file = write(tmp_path, prompty_file(chain.bot, chain.compose("Hi"), "Hi"))
    made = import_file(file, tmp_path / "templates", "back")
    assert load_bot(made.folder).spec.decoding == chain.bot.spec.decoding


def test_mustache_is_named(tmp_path: Path) -> None:
    body = "system:\nHi {{#if name}}{{name}}{{/if}}\nuser:\n{{q}}"
    file = write(tmp_path, f"---\nname: x\n---\n{body}")
    with pytest.raises(InputError, match=r'"\{\{#if name\}\}" looks like Mustache'):
        import_file(file, tmp_path / "templates")


def test_a_file_without_messages_is_remarked_on(tmp_path: Path) -> None:
    made = import_file(write(tmp_path, "---\nname: x\n---\n"), tmp_path / "templates")
    assert "the file has no messages: the system prompt is empty" in made.remarks


def test_a_line_that_would_begin_a_message_is_not_exported(make_bot: BotMaker) -> None:
    chain, _ = chain_of(make_bot(files={"system.j2": "Hello\nuser:\nBye"}), "x")
    with pytest.raises(InputError, match='the line "user:" would begin a new message'):
        prompty_file(chain.bot, chain.compose("Hi"), "Hi")


@pytest.mark.parametrize("text", ["{{ a }}", "{% b %}", "{# c #}", "plain", "{{{%", "}}%}#}"])
def test_a_literal_template_writes_its_text(text: str) -> None:
    assert Template(name="t", source=literal(text)).render({}) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no settings", "does not begin with settings"),
        ("---\n[a\n---\nx", "no YAML"),
        ("---\n- a\n---\nx", "no lines of the form"),
        ("---\nname: a\n---\nsystem:\nx\nassistant:\ny\n", "the last message is the assistant's"),
        ("---\nname: a\n---\nuser:\n{{a}}\nuser:\n{{b}}\n", "the messages are user, user"),
        ("---\nname: a\n---\nsystem:\n{% for m in h %}\nuser:\n{{m}}\n{% endfor %}", "by itself"),
        ("---\nname: a\n---\nuser:\nHello\n", "which variable is the user's message"),
        ("---\nname: a\n---\nuser:\n{{a}} {{b}}\n", "which variable .* reads a, b"),
        ("---\nname: a\n---\nsystem:\n{{examples}}\nuser:\n{{input}}", "promptbot fills itself"),
    ],
)
def test_a_file_that_cannot_be_a_bot_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        import_file(write(tmp_path, text), tmp_path / "templates")
    assert not (tmp_path / "templates").exists()


def test_wrong_settings_leave_nothing_behind(tmp_path: Path) -> None:
    text = OLD.replace("temperature: 0,", "temperature: 99,")
    file = write(tmp_path, text)
    with pytest.raises(InputError, match=r"decoding\.temperature is 99") as caught:
        import_file(file, tmp_path / "templates", "bad")
    assert caught.value.place == str(file)  # and no bot.yaml that is not there
    assert not list((tmp_path / "templates").iterdir())


def test_an_address_in_the_file_is_not_used(tmp_path: Path) -> None:
    text = NEW.replace(
        "provider: openai", "provider: foundry\n  connection: {endpoint: 'http://evil.example'}"
    )
    made = import_file(write(tmp_path, text), tmp_path / "templates")
    assert load_bot(made.folder).spec.model == "embedded"
    assert "evil" not in (made.folder / "bot.yaml").read_text()
    assert any("embedded one answers" in remark for remark in made.remarks)


CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n"
    "You are Fox, a {{ '{{' }}clever{{ '}}' }} model.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "[{{ m.role }}] {{ m.content }}\n{% endfor %}"
)


def test_a_chat_template_gives_its_own_system_prompt_and_end(tmp_path: Path) -> None:
    folder = tmp_path / "fox"
    folder.mkdir()
    config = {"chat_template": CHATML, "eos_token": {"content": "<|im_end|>"}}
    file = write(folder, json.dumps(config), "tokenizer_config.json")
    made = import_file(file, tmp_path / "templates")
    bot = load_bot(made.folder)
    assert bot.name == "fox"
    assert bot.spec.decoding.stop == ["<|im_end|>"]
    chain, model = chain_of(made.folder, "x")
    chain.invoke("Hi")
    assert model.prompts[0][0].content == "You are Fox, a {{clever}} model."
    assert import_file(folder, tmp_path / "templates", "fox2").folder.name == "fox2"


@pytest.mark.parametrize("template", [CHATML, CHATML.replace("!= 'system'", "== 'nobody'")])
def test_the_system_prompt_is_what_transformers_writes_of_itself(
    tmp_path: Path, template: str
) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")),
        chat_template=template,
        eos_token="<|im_end|>",
    )
    tokenizer.save_pretrained(tmp_path / "fox")
    made = import_file(tmp_path / "fox", tmp_path / "templates")
    chain, model = chain_of(made.folder, "x")
    chain.invoke("Hi")
    ours = [{"role": m.role, "content": m.content} for m in model.prompts[0]]
    alone = tokenizer.apply_chat_template(ours[1:], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(ours, tokenize=False, add_generation_prompt=True)
    writes_one = "nobody" not in template
    assert (whole == alone) == writes_one
    assert any("has no system prompt" in remark for remark in made.remarks) != writes_one


def test_a_chat_template_without_system_is_said(tmp_path: Path) -> None:
    made = import_file(write(tmp_path, NO_SYSTEM, "plain.jinja"), tmp_path / "templates")
    assert load_bot(made.folder).spec.decoding.stop == ["[user]"]
    assert any("no system role" in remark for remark in made.remarks)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("tokenizer_config.json", "{}", "there is no chat template"),
        ("tokenizer_config.json", "{", "cannot be read"),
        ("tokenizer_config.json", "[]", "cannot be read"),
        ("a.jinja", "{% for %}", "cannot be parsed"),
        ("a.jinja", "{{ messages.nothing.at.all }}", "refuses these messages"),
        ("a.txt", "x", "cannot be made a bot"),
    ],
)
def test_a_file_without_chat_template_is_told(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        import_file(write(tmp_path, text, name), tmp_path / "templates")


def test_the_command_makes_a_bot_that_answers(cli: Cli, tmp_path: Path) -> None:
    file = write(tmp_path, OLD.replace("name: gpt-4o-mini", "name: x"))
    result = cli("import", str(file), "--name", "tents")
    assert result.status == 0
    assert "Made templates/tents" in result.out
    assert "tools were left out" in result.err
    script = write(tmp_path, "The big one.\n", "script.txt")
    answer = cli("run", "tents", "--model", f"scripted:{script}", "--once", "Which?")
    assert answer.out.strip() == "The big one."
    again = cli("import", str(file), "--name", "tents")
    assert again.status == 2
    assert "already something of this name" in again.err
    gone = cli("import", "nothing.prompty")
    assert (gone.status, "cannot be read" in gone.err) == (2, True)


def test_the_export_command_writes_a_file(cli: Cli, make_bot: BotMaker) -> None:
    folder = make_bot(files={"bot.yaml": BOT_YAML.replace("selector: fixed", "selector: fixed")})
    result = cli("export", str(folder), "--to", "prompty", "--input", "Open?")
    assert result.status == 0
    assert result.out.startswith("---\nname: shop\n")
    assert result.out.endswith("user:\n{{input}}\n")
