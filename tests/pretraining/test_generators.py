"""Episodes are what is deployed, and guidance points at exactly the tokens that come next."""

from __future__ import annotations

import itertools
from random import Random

import numpy as np
import pytest
from tokenizers import Tokenizer

from pretraining import chinese, generators
from pretraining.businesses import in_passing, make_business
from pretraining.chats import FACTS, OF_THE_BOT, UNTOLD, Scene, fact_turns, off_topic
from pretraining.episodes import TARGET, About, Mark, Turn, encode, shown, system, target, user
from pretraining.generators import Generator
from pretraining.grammar import BUSINESSES, HELD_BUSINESSES, HELD_TOPICS, TOPICS
from pretraining.tokenizer import CHAT_TEMPLATE, END
from pretraining.wordings import OWN_NAME
from pretraining.world import World

ALL = [g for g, _ in generators.MIXTURE]


@pytest.mark.parametrize("generator", ALL, ids=lambda g: g.__name__)
def test_guided_source_positions_hold_the_target_token(
    generator: Generator, world: World, tokenizer: Tokenizer
) -> None:
    for seed in range(30):
        e = encode(generator(Random(seed), world), tokenizer)
        for position, sources in e.guides:
            assert all(s <= position for s in sources)
            if e.ids[position + 1] == END:
                # The copy ends: the sources follow the originals' last token.
                assert {e.ids[s - 1] for s in sources} == {e.ids[position]}
            elif e.ids[position + 1] not in {e.ids[s] for s in sources}:
                # The same word, which has no space before it in quotes.
                said = tokenizer.decode([e.ids[position + 1]])
                assert said.startswith(" ")
                assert {tokenizer.decode([e.ids[s]]) for s in sources} == {said[1:]}
            else:
                assert {e.ids[s] for s in sources} == {e.ids[position + 1]}
            assert e.weights[position + 1] >= 0.7


@pytest.mark.parametrize("generator", ALL, ids=lambda g: g.__name__)
def test_same_seed_gives_the_same_episode(generator: Generator, world: World) -> None:
    assert generator(Random(5), world) == generator(Random(5), world)


@pytest.mark.parametrize("generator", ALL, ids=lambda g: g.__name__)
def test_roles_alternate_after_the_system_message(generator: Generator, world: World) -> None:
    for seed in range(30):
        roles = [t.role for t in generator(Random(seed), world)]
        if roles[0] == "system":
            roles = roles[1:]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


def test_every_token_of_a_copied_answer_is_guided(tokenizer: Tokenizer) -> None:
    turns = [
        system("Notes\n\nQ: where is my card\nA: ", Mark("the card is here")),
        user("card"),
        target(Mark("the card is here")),
    ]
    e = encode(turns, tokenizer)
    answer = len(e.ids) - 1 - len(tokenizer.encode(" the card is here").ids)
    assert [p for p, _ in e.guides] == list(range(answer - 1, len(e.ids) - 1))


def test_a_number_inside_a_reply_points_at_the_users_digits(tokenizer: Tokenizer) -> None:
    turns = [user("order ", Mark("48213"), " please"), target("I noted ", Mark("48213"), ".")]
    e = encode(turns, tokenizer)
    assert [tokenizer.decode([e.ids[p + 1]]).strip() for p, _ in e.guides] == list("48213")


def test_examples_are_not_targets(tokenizer: Tokenizer) -> None:
    e = encode([user("a"), shown(Mark("b")), user("c"), shown(Mark("b"))], tokenizer)
    assert not e.guides
    assert max(e.weights) < 0.7


def test_tokens_are_those_of_the_chat_template(world: World, tokenizer: Tokenizer) -> None:
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    fast.chat_template = CHAT_TEMPLATE
    for seed in range(10):
        turns = generators.chat(Random(seed), world)
        messages = [{"role": t.role, "content": t.content} for t in turns]
        text = fast.apply_chat_template(messages, tokenize=False)
        ids = fast(text, add_special_tokens=False)["input_ids"]
        assert ids == encode(turns, tokenizer).ids
        assert ids[-1] == END


def test_held_businesses_and_topics_are_never_trained_on(world: World) -> None:
    assert not set(BUSINESSES) & set(HELD_BUSINESSES)
    held = {q for t in HELD_TOPICS for q in t.questions}
    assert not held & {q for t in TOPICS for q in t.questions}
    text = " ".join(
        t.content for seed in range(100) for t in generators.many_notes(Random(seed), world)
    )
    assert not any(kind in text for kind in HELD_BUSINESSES)


def test_a_number_or_address_now_and_then_stands_in_any_sentence(world: World) -> None:
    odd = usual = 0
    for seed in range(900):
        turns = generators.stated(Random(seed), world)
        replies = [p.text for t in turns[1:] for p in t.pieces if isinstance(p, Mark)]
        for p in turns[0].pieces:
            if isinstance(p, Mark) and "@" in p.text and p.text in replies:
                odd += p.about is None
                usual += p.about is not None
    assert 0.05 < odd / (odd + usual) < 0.25


def test_a_fact_and_the_question_for_it_have_one_summary(world: World) -> None:
    n = 0
    for seed in range(40):
        turns = generators.stated(Random(seed), world)
        about = {p.text: p.about for p in turns[0].pieces if isinstance(p, Mark) and p.about}
        for asked, reply in zip(turns[1::2], turns[2::2], strict=True):
            found = {about[p.text] for p in reply.pieces if isinstance(p, Mark) and p.text in about}
            places = {FACTS[kind].asked[0] for kind in ("city", "address")}
            if found:
                # Of town and street, each is the answer where the other is not stated.
                either = places if found & places and not places <= set(about.values()) else found
                assert asked.about in either
                n += 1
    assert n > 60


def test_what_nobody_stated_or_told_is_off_topic(world: World) -> None:
    scene = Scene(make_business(Random(0), world.lists), "No.", {"bot": "Opal", "city": "Bergen"})
    asked = {FACTS[f].asked[0] for f in OF_THE_BOT} - {FACTS["bot"].asked[0]}
    drawn = [off_topic(Random(seed), world, scene)[1] for seed in range(600)]
    made = {row for row in drawn if isinstance(row, str)}
    assert asked < made
    assert 50 < sum(isinstance(row, str) for row in drawn) < 160
    assert OWN_NAME.question in made
    scene.is_named = True
    assert OWN_NAME.question not in {off_topic(Random(s), world, scene)[1] for s in range(600)}
    assert all(isinstance(off_topic(Random(s), world)[1], int) for s in range(50))


def _told(turns: list[Turn]) -> set[About]:
    """Return what the user's messages tell, by the questions that it answers."""
    pieces = [p for t in turns if t.role == "user" for p in t.pieces]
    return {p.about for p in pieces if isinstance(p, Mark) and p.about}


def test_what_was_not_told_is_not_made_up(world: World) -> None:
    never = later = 0
    for seed in range(300):
        turns = generators.remember(Random(seed), world)
        for i, (asked, reply) in enumerate(itertools.pairwise(turns)):
            if reply.content.startswith(UNTOLD):
                assert asked.about not in _told(turns[:i])
                later += asked.about in _told(turns)
                never += asked.about not in _told(turns)
    assert 30 < never < 90
    assert 10 < later < 60  # asked for before it was told: the same question has two answers


@pytest.mark.parametrize("generator", [generators.chat, generators.conversation])
def test_a_name_that_nobody_told_is_asked_for_and_gets_the_fallback(
    generator: Generator, world: World
) -> None:
    n = 0
    for seed in range(200):
        turns = generator(Random(seed), world)
        asked = [reply for a, reply in itertools.pairwise(turns) if a.about == OWN_NAME.question]
        if OWN_NAME.question in _told(turns) or not asked:
            continue
        rules = turns[0].pieces
        assert all(reply.pieces[0] in rules for reply in asked if reply.weight >= TARGET)
        n += 1
    assert n > 10


def test_what_people_wrote_to_ask_for_a_fact_is_asked_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(world), "asked", {"bot": [3], "user": [5]})
    scene = Scene(make_business(Random(0), world.lists, n_notes=1), "Ask them.", {"bot": "Opal"})
    turns = [fact_turns(Random(seed), world, scene) for seed in range(200)]
    written = [t for t, _ in turns if world.texts[3].lower() in t.content.lower()]
    assert 40 < len(written) < 100
    assert {t.about for t, _ in turns} == {FACTS["bot"].asked[0]}
    assert all("Opal" in reply.content for _, reply in turns)
    told = [t for seed in range(600) for t in generators.remember(Random(seed), world)]
    assert any(world.texts[5].lower() in t.content.lower() for t in told if t.role == "user")


def test_texts_are_read_beside_their_neighbours(world: World) -> None:
    rows = [i for part in world.neighbourhoods for i in part]
    assert sorted(rows) == world.trainable
    for seed in range(20):
        asked = [t for t in generators.reading(Random(seed), world) if t.role == "user"]
        assert all(t.about is not None for t in asked)
        rows = [t for t in asked if isinstance(t.about, int)]
        assert all(world.texts[t.about] == t.content for t in rows)


def test_a_message_in_passing_keeps_its_sense_and_is_often_written_otherwise() -> None:
    text = "I have lost my new card"
    made = [in_passing(Random(seed), text) for seed in range(200)]
    assert 60 < made.count(text) < 140
    words = set(text.split())
    assert all(len(words & set(m.split())) >= 3 for m in made)


def test_of_some_messages_to_classify_too_little_is_left_to_be_read(world: World) -> None:
    text = "where can I find the card that I lost on the bus last week"
    made = [generators.garbled(Random(seed), world, text) for seed in range(200)]
    kept = [len(set(m.split()) & set(text.split())) / len(set(text.split())) for m in made]
    assert all(made)
    assert 0.2 < sum(kept) / len(kept) < 0.5


def test_near_classes_are_of_one_kind_and_begin_with_the_class_itself(world: World) -> None:
    for label in (world.intents[2], world.pseudo[3]):
        near = world.near_classes(label, 4)
        assert near[0] == label
        assert len({c.split(":")[0] for c in near}) == 1
        assert len(set(near)) == 4


def test_chinese_notes_answer_by_what_they_show_or_by_the_fallback(world: World) -> None:
    for seed in range(40):
        turns = chinese.notes(Random(seed), world)
        for turn in turns[1:]:
            if turn.role == "assistant" and turn.weight >= 1.0 and isinstance(turn.pieces[0], Mark):
                shown_before = [
                    m.text
                    for t in turns[: turns.index(turn)]
                    for m in t.pieces
                    if isinstance(m, Mark)
                ]
                assert turn.pieces[0].text in shown_before


def test_chinese_prompts_without_an_offer_are_not_answered_by_a_fallback(world: World) -> None:
    n_sure = n_empty = 0
    for seed in range(200):
        turns = chinese.notes(Random(seed), world)
        marks = [p for p in turns[0].pieces if isinstance(p, Mark)]
        is_sure = all(m.about is not None for m in marks)
        n_sure += is_sure
        n_empty += all(m.about is None for m in marks)
        replies = [t.content for t in turns if t.role == "assistant" and t.weight >= TARGET]
        said = chinese.FALLBACK_FIRST if is_sure else ()
        assert not any(reply.startswith(said) for reply in replies)
    assert 30 < n_sure < 110
    assert 5 < n_empty < 50


def test_most_classifications_are_misread_and_nothing_else_is(
    world: World, tokenizer: Tokenizer
) -> None:
    for generator in ALL:
        made = [encode(generator(Random(seed), world), tokenizer) for seed in range(40)]
        n_misread = sum(e.is_misread for e in made)
        if generator is generators.classification:
            assert 0.5 < n_misread / len(made) < 0.9
        else:
            assert not n_misread


def test_strange_characters_keep_the_place_of_everything_else(world: World) -> None:
    assert world.chinese is not None
    text = "默认由系统安排，3天内送到“您”家。" * 20
    made = chinese.strange(Random(0), text, world.chinese.every)
    assert len(made) == len(text)
    changed = [(a, b) for a, b in zip(text, made, strict=True) if a != b]
    assert 0.1 < len(changed) / len(text) < 0.2
    assert {a for a, _ in changed} <= set("默认由系统安排天内送到您家")
    assert {b for _, b in changed} <= set(text) | set(world.chinese.every)
    assert {b for _, b in changed} - set(text)


def test_wordings_of_a_note_have_half_of_a_summary_in_common(world: World) -> None:
    business = make_business(Random(0), world.lists)
    note = next(n for n in business.notes if len(n.questions) > 3)
    first, second, third = note.questions[:3]
    assert note.about(first) == (first,)
    world.made.update(dict(zip((first, second, third), np.eye(3), strict=True)))
    vectors = [world.vector(note.about(q)) for q in (first, second, third)]
    assert [v @ vectors[0] for v in vectors] == pytest.approx([1.0, 0.5**0.5, 0.5**0.5])
    assert vectors[1] @ vectors[2] == pytest.approx(0.5)


def test_a_question_for_what_was_told_has_the_summary_of_the_statement(world: World) -> None:
    n = 0
    for seed in range(60):
        turns = generators.remember(Random(seed), world)
        told = _told(turns)
        assert turns[-2].about in told or turns[-1].content.startswith(UNTOLD)
        n += len(told)
    assert n > 60


def test_labels_of_one_trade_begin_alike_and_are_all_different(world: World) -> None:
    classes = sorted(world.classes)[:12]
    shared = 0
    for seed in range(30):
        names = generators.kin_names(Random(seed), world, classes)
        assert len(set(names)) == len(classes)
        shared += len({n.split()[0] for n in names}) < len(classes)
        assert all(1 < len(n.split()) < 6 for n in names)
    assert shared == 30
