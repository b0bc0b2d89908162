"""Sentences written by a grammar, so that the encoder's student sees more words in more company.

The teacher gives a vector to any sentence; what the public corpora lack are many near-equal
sentences that differ in the one word that matters ("cancel my order" and "change my order",
"the fee was charged twice" and "the fee was not refunded"). The grammar writes such families for
the trades that chatbots serve. It was written from general knowledge of these trades; no text of a
set that is used to measure was copied into it, and `pretraining.encoder` drops what comes near one.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pretraining.businesses import as_written, make_business


@dataclass(frozen=True)
class Trade:
    """The words of one trade."""

    things: tuple[str, ...]
    """What customers have or want, without an article."""
    acts: tuple[str, ...]
    """What one does with a thing, as an infinitive."""
    troubles: tuple[str, ...]
    """What goes wrong with a thing, as a predicate in the third person."""
    matters: tuple[str, ...]
    """What one asks about a thing."""
    places: tuple[str, ...]
    """Where, when or with whom it happens."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


TRADES = (
    Trade(  # bank
        _words(
            "card, debit card, credit card, virtual card, bank account, savings account, joint "
            "account, transfer, bank transfer, wire, direct debit, standing order, payment, card "
            "payment, cash, cash withdrawal, PIN, passcode, balance, statement, overdraft, loan, "
            "mortgage, refund, cheque, deposit, salary, currency, foreign currency, euros, "
            "pounds, dollars, identity check, proof of address, passport, contactless payment, "
            "mobile wallet, beneficiary, recipient, interest, top up, limit, spare card, app, "
            "ATM, money"
        ),
        _words(
            "activate, order, block, unblock, freeze, cancel, dispute, trace, send, receive, "
            "withdraw, deposit, exchange, convert, top up, verify, change, reset, close, open, "
            "link, add, replace, schedule, stop, split, use, pay with, find, get back, delete, "
            "set up, report, track, increase, request, share, recover, reverse, confirm, unlock"
        ),
        _words(
            "was declined, is still pending, has not arrived, was charged twice, was stolen, is "
            "lost, was swallowed by the machine, does not work, was reversed, is not showing, "
            "went to the wrong person, is not recognised by me, expired, is blocked, failed, was "
            "rejected, has the wrong amount, has an extra charge, was made without my permission, "
            "cannot be verified, takes too long, is compromised, has been cancelled, was damaged"
        ),
        _words(
            "fee, exchange rate, limit, delivery time, minimum, maximum, cost, status, expiry "
            "date, security code, number, interest rate, processing time, charge, age limit, "
            "source of funds, country, currency, proof, reason, cut-off time"
        ),
        _words(
            "at the ATM, abroad, on holiday, in the app, on my statement, in a shop, online, at "
            "a petrol station, from another bank, by cheque, in cash, to a friend, to a "
            "different country, on the weekend, this morning, from my employer, with another "
            "currency, through the website, with my phone, for my child, from Europe, in the US"
        ),
    ),
    Trade(  # shop and delivery
        _words(
            "order, parcel, package, delivery, refund, return label, voucher, gift card, coupon, "
            "invoice, receipt, shoes, jacket, dress, phone case, laptop, headphones, sofa, book, "
            "size, colour, basket, wish list, address, delivery slot, warranty, subscription box, "
            "loyalty points, price, item, exchange, payment, discount, pre-order"
        ),
        _words(
            "track, return, exchange, cancel, change, reorder, gift wrap, pay for, collect, "
            "redeem, find, buy, compare, review, send back, reserve, combine, expedite, confirm, "
            "receive, report, assemble, replace, apply, edit"
        ),
        _words(
            "arrived broken, has not arrived, is late, is missing a part, is the wrong size, is "
            "the wrong colour, was left outside, was delivered to a neighbour, is out of stock, "
            "does not fit, was cancelled, got lost, says delivered, cannot be redeemed, is stuck "
            "at customs, is cheaper elsewhere, was never shipped, is faulty, has expired"
        ),
        _words(
            "price, delivery time, shipping cost, return policy, tracking number, size guide, "
            "material, availability, warranty, discount, packaging, condition, weight, status"
        ),
        _words(
            "in the store, online, at the door, for Christmas, next week, by express, as a gift, "
            "to Canada, yesterday, without a receipt, at the pick-up point, on sale, before Friday"
        ),
    ),
    Trade(  # telephone and internet
        _words(
            "SIM card, phone number, data plan, roaming, router, broadband, contract, bill, "
            "voicemail, signal, internet, text message, call, landline, handset, modem, wifi "
            "password, speed, upgrade, tariff, prepaid credit, hotspot, line"
        ),
        _words(
            "activate, keep, transfer, upgrade, cancel, block, restart, set up, top up, renew, "
            "pay, change, unlock, test, extend, port, connect, disconnect, lower, check"
        ),
        _words(
            "keeps dropping, is very slow, does not work, was cut off, is too high, has run out, "
            "has no signal, cannot connect, was not applied, is locked, stopped working, blinks "
            "red, is not available here, is overcharged"
        ),
        _words("price, coverage, speed, allowance, notice period, setting, end date, cost, code"),
        _words(
            "abroad, at home, in my area, in the evening, on my new phone, upstairs, since "
            "Monday, while travelling, over wifi, at the office, on the train"
        ),
    ),
    Trade(  # travel
        _words(
            "flight, booking, ticket, seat, boarding pass, luggage, hand luggage, visa, passport, "
            "hotel room, train, connection, upgrade, transfer, rental car, insurance, gate, "
            "itinerary, reservation, check-in, lounge, meal, miles, suitcase, taxi, tour"
        ),
        _words(
            "book, cancel, change, rebook, confirm, print, upgrade, find, claim, add, choose, "
            "check in, miss, share, extend, postpone, insure, drop off, pick up, reserve, split"
        ),
        _words(
            "is delayed, was cancelled, is overbooked, is lost, was damaged, is too heavy, is "
            "missing, has the wrong name, was not confirmed, leaves too early, is sold out, has "
            "expired, was stolen, is fully booked, was double booked"
        ),
        _words(
            "price, departure time, arrival time, allowance, weight limit, terminal, duration, "
            "refund, deadline, address, distance, gate, requirement, check-out time"
        ),
        _words(
            "at the airport, with a baby, to Tokyo, in first class, at the counter, for two "
            "people, next month, on arrival, with my dog, from Berlin, during a layover, at the "
            "border, in the city centre"
        ),
    ),
    Trade(  # clinic
        _words(
            "appointment, prescription, test result, blood test, vaccination, referral, sick note, "
            "doctor, nurse, dentist, insurance card, x-ray, check-up, medication, allergy, pain, "
            "fever, cough, headache, rash, surgery, pharmacy, medical record, waiting room, "
            "therapy, pregnancy, injury, dose"
        ),
        _words(
            "book, move, cancel, renew, collect, see, get, bring, take, stop, send, read, discuss, "
            "pay for, refill, check, treat, prevent, describe, request, explain"
        ),
        _words(
            "got worse, is not ready, was cancelled, hurts a lot, has not been sent, is too early, "
            "is swollen, will not go away, has side effects, was lost, came back, is not covered, "
            "is overdue, was forgotten, itches"
        ),
        _words(
            "cause, symptom, treatment, risk, cost, dose, side effect, opening hour, phone number"
        ),
        _words(
            "on Monday, after work, for my son, without an appointment, in the morning, at night, "
            "during pregnancy, for three days, before eating, near me, "
            "over the phone, at the clinic"
        ),
    ),
    Trade(  # software and accounts
        _words(
            "password, account, username, email address, app, licence, update, file, folder, "
            "backup, printer, screen, laptop, keyboard, browser, login, two-factor code, "
            "notification, profile, photo, database, server, plug-in, report, settings, trial, "
            "subscription, invoice, language, message, data"
        ),
        _words(
            "reset, change, delete, install, update, export, import, share, restore, sync, print, "
            "open, close, rename, download, upload, recover, merge, disable, "
            "enable, renew, cancel, "
            "remove, log in to, back up, fix, move"
        ),
        _words(
            "does not load, crashed, keeps freezing, was deleted, was hacked, "
            "is too slow, shows an "
            "error, is locked, cannot be opened, is full, went blank, has disappeared, is out of "
            "date, was not saved, does not sync, is not compatible, has a virus"
        ),
        _words(
            "price, size, version, error code, limit, deadline, format, location, setting, owner"
        ),
        _words(
            "on my phone, on Windows, after the update, in the browser, for my team, offline, on a "
            "new computer, with a colleague, in the cloud, by email, remotely, on two devices"
        ),
    ),
    Trade(  # house, energy, insurance
        _words(
            "meter reading, electricity bill, gas bill, heating, boiler, tariff, claim, policy, "
            "premium, car insurance, accident, repair, rent, deposit, landlord, lease, key, water, "
            "leak, fridge, washing machine, plumber, bin, garden, solar panel, contract, damage, "
            "roof, window, moving date"
        ),
        _words(
            "submit, pay, repair, report, cancel, renew, switch, lower, file, explain, replace, "
            "inspect, clean, turn off, turn on, estimate, insure, sign, end, check, appeal, install"
        ),
        _words(
            "is too high, is broken, leaks, was rejected, makes a noise, is overdue, smells, does "
            "not turn on, was not paid out, is wrong, caught fire, is cold, was estimated, is "
            "cracked, was flooded, expired"
        ),
        _words(
            "cost, deadline, due date, coverage, excess, price, duration, address, size, status"
        ),
        _words(
            "at home, in the kitchen, after the storm, last winter, for my car, in the new flat, "
            "without notice, by the end of the month, every month, with my neighbour"
        ),
    ),
    Trade(  # learning
        _words(
            "homework, essay, exam, lesson, course, equation, fraction, grammar, vocabulary, "
            "history, teacher, certificate, grade, deadline, class, project, textbook, quiz, "
            "sentence, word, poem, experiment, timetable, scholarship, lecture, verb, triangle"
        ),
        _words(
            "solve, write, learn, explain, check, hand in, translate, study for, summarise, "
            "improve, pass, fail, repeat, join, drop, correct, calculate, practise, memorise, "
            "define, pronounce, cite, draw"
        ),
        _words(
            "is too hard, is late, makes no sense, was marked wrong, is confusing, is too long, "
            "was postponed, is boring, starts too early, is full, is due tomorrow, was cancelled"
        ),
        _words(
            "meaning, answer, length, date, rule, difference, level, fee, start, topic, example"
        ),
        _words(
            "for tomorrow, at school, in Italian, before the exam, in class, at university, by "
            "heart, with an example, step by step, in simple words, online, in English"
        ),
    ),
    Trade(  # food and leisure
        _words(
            "table, pizza, coffee, menu, dessert, bill, tip, takeaway, vegetarian dish, wine, "
            "breakfast, film, cinema ticket, concert, song, playlist, game, match, museum, party, "
            "recipe, cake, soup, gym, swimming pool, haircut, weather, holiday, present, dog, cat"
        ),
        _words(
            "order, book, cook, cancel, play, watch, recommend, find, buy, bring, "
            "pay, share, heat, "
            "taste, bake, visit, join, invite, enjoy, reserve, rate, skip, pause, freeze"
        ),
        _words(
            "is cold, is sold out, was overcooked, is too loud, is closed, starts late, was great, "
            "is too expensive, tastes strange, was cancelled, is gluten free, is boring, is crowded"
        ),
        _words(
            "price, opening hour, ingredient, calorie, address, rating, length, title, dress code"
        ),
        _words(
            "tonight, for six people, near the station, at eight, with friends, outside, for "
            "children, on Sunday, without nuts, in the park, for my birthday, downtown"
        ),
    ),
)

QUESTIONS = (
    "How do I {act} {my} {thing}?",
    "How can I {act} {a} {thing} {place}?",
    "Can I {act} {my} {thing} {place}?",
    "Can you {act} {my} {thing}?",
    "Could you please {act} {a} {thing} for me",
    "Is it possible to {act} {a} {thing} {place}?",
    "Where can I {act} {a} {thing}?",
    "Where do I find the {matter} of {my} {thing}?",
    "What is the {matter} for {a} {thing}?",
    "what's the {matter} of a {thing} {place}",
    "Why do I need {a} {thing} to {act} {a} {thing2}?",
    "Why can't I {act} {my} {thing} {place}?",
    "When can I {act} {my} {thing}?",
    "When will {my} {thing} be here?",
    "how long does it take to {act} {a} {thing}",
    "How long until {my} {thing} is ready {place}?",
    "How much does it cost to {act} {a} {thing} {place}?",
    "Is there a {matter} for {a} {thing}?",
    "Are there any {matter}s if I {act} {a} {thing}?",
    "Do you offer {a} {thing} {place}?",
    "Do I need to {act} {my} {thing} before I {act2} {a} {thing2}?",
    "who can {act} {my} {thing} {place}",
    "Which {thing} can I {act} {place}?",
    "What happens if {my} {thing} {trouble}?",
    "What should I do when {my} {thing} {trouble}?",
    "What do I do if I cannot {act} {my} {thing}?",
    "Do you know why {my} {thing} {trouble}?",
    "why is it that {my} {thing} {trouble}",
    "Should I {act} or {act2} {my} {thing}?",
    "What if I want to {act} {my} {thing} {place}?",
    "Am I able to {act} {a} {thing} {place}?",
    "can someone else {act} {my} {thing}",
    "how many {thing}s can I {act} {place}",
)
STATEMENTS = (
    "I want to {act} {my} {thing}",
    "I would like to {act} {a} {thing} {place}.",
    "I need to {act} {my} {thing} {place}.",
    "I need help with {my} {thing}.",
    "I can't {act} {my} {thing}.",
    "I tried to {act} {a} {thing} {place}, but it did not work.",
    "I think {my} {thing} {trouble}.",
    "{my} {thing} {trouble}",
    "{my} {thing} {trouble} {place}.",
    "It looks like the {thing} {trouble}.",
    "Please {act} {my} {thing} {place}",
    "please help me {act} {a} {thing}",
    "I forgot the {matter} of {my} {thing}",
    "I don't understand the {matter} of {my} {thing}.",
    "tell me the {matter} for {a} {thing} {place}",
    "I did not {act} {a} {thing} {place}.",
    "I have been waiting for {my} {thing} for {number} days.",
    "there is a {thing} that I don't recognize {place}",
    "I was told to {act} {my} {thing} {place}.",
    "I wish to {act} the {thing}, what is the {matter}?",
    "I still don't have {my} {thing}",
    "I am unhappy with the {matter} of {my} {thing}.",
    "I no longer need {my} {thing}.",
    "Someone else tried to {act} {my} {thing} {place}!",
    "the {matter} of {my} {thing} is wrong",
    "I am looking for {a} {thing} {place}",
    "My friend wants to {act} {a} {thing} {place}",
)
JOINTS = (
    "{s} {q}",
    "{s} {q}",
    "Hi, {s}",
    "Hello! {q}",
    "{s} Why?",
    "{s} What can I do?",
    "{s} Please help!",
    "{q} {s}",
    "{s} {s2}",
    "So {s} and {s2}",
)
OWNERS = ("my", "my", "my", "the", "this", "my new", "my old", "our", "a", "your", "the same")
NUMBERS = ("two", "three", "5", "10", "a few", "several")


def _sentence(rng: random.Random, frame: str, trade: Trade) -> str:
    thing, thing2 = rng.sample(trade.things, 2)
    act, act2 = rng.sample(trade.acts, 2)
    text = frame.format(
        my=rng.choice(OWNERS),
        a=rng.choice(("a", "a", "the", "my", "another")),
        thing=thing,
        thing2=thing2,
        act=act,
        act2=act2,
        trouble=rng.choice(trade.troubles),
        matter=rng.choice(trade.matters),
        place=rng.choice(trade.places) if rng.random() < 0.6 else "",
        number=rng.choice(NUMBERS),
    )
    text = re.sub(r" (?=[.,!?])", "", " ".join(text.split()))
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def grammar_sentences(n_texts: int, seed: int) -> list[str]:
    """Return distinct sentences of customers, as many of every trade, and of the bank twice.

    The bank counts double because a shipped bot sorts a bank's messages, whose kinds lie close.
    """
    rng = random.Random(seed)
    trades = (*TRADES, TRADES[0])
    seen: dict[str, None] = {}
    while len(seen) < n_texts:
        trade = rng.choice(trades)
        question = _sentence(rng, rng.choice(QUESTIONS), trade)
        statement = _sentence(rng, rng.choice(STATEMENTS), trade)
        kind = rng.random()
        if kind < 0.45:
            text = question
        elif kind < 0.8:
            text = statement
        else:
            text = rng.choice(JOINTS).format(
                q=question, s=statement, s2=_sentence(rng, rng.choice(STATEMENTS), trade)
            )
        style = rng.random()
        if style < 0.3:
            text = text.lower().rstrip(".?!")
        elif style < 0.8:
            text = text[0].upper() + text[1:]
        seen.setdefault(text)
    return list(seen)


def chained_sentences(texts: Sequence[str], n_texts: int, seed: int) -> Iterator[str]:
    """Yield new sentences that follow the three-word statistics of the given ones.

    They put the corpus's words into new company while they keep most of its grammar.

    Source:
        Shannon (1948), "A mathematical theory of communication", section 3.
    """
    rng = random.Random(seed)
    follow: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for text in texts:
        words = ["", "", *text.split()[:30], ""]
        for first, second, third in zip(words, words[1:], words[2:], strict=False):
            follow[first, second].append(third)
    known = set(texts)
    made = 0
    while made < n_texts:
        state, words = ("", ""), []
        while (word := rng.choice(follow[state])) and len(words) < 25:
            words.append(word)
            state = (state[1], word)
        text = " ".join(words)
        if len(words) > 3 and text not in known:
            known.add(text)
            made += 1
            yield text


def split_sentences(text: str, longest: int = 160) -> Iterator[str]:
    """Yield the sentences of a text that are neither fragments nor longer than `longest`."""
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        if 12 <= len(sentence) <= longest and sentence.count(" ") > 1 and sentence.isascii():
            yield sentence


def swapped_sentences(
    texts: Sequence[str], near: Mapping[str, Sequence[str]], n_texts: int, seed: int
) -> Iterator[str]:
    """Yield new sentences: given ones of which one to three words stand for others.

    Args:
        texts: What is changed.
        near: Words, each with those that may stand for it; half of the time any of them may.
        n_texts: How many.
        seed: Of the choice.

    The corpora talk of few things. So the student meets every word of the vocabulary in a
    sentence, and sentences that differ in one word, whose difference the teacher tells.
    """
    rng = random.Random(seed)
    every = sorted(near)
    known = set(texts)
    made = 0
    while made < n_texts:
        words = re.findall(r"\w+|\W+", rng.choice(texts))
        places = [i for i, word in enumerate(words) if word.lower() in near]
        if len(places) < 2:  # what remains must tell what kind of word it is
            continue
        for place in rng.sample(places, min(len(places) - 1, rng.choice((1, 1, 2, 3)))):
            old = words[place]
            new = rng.choice(near[old.lower()] if rng.random() < 0.5 else every)
            words[place] = new.capitalize() if old[0].isupper() else new
        text = "".join(words)
        if text not in known:
            known.add(text)
            made += 1
            yield text


def business_sentences(lists: Mapping[str, list[str]], n_texts: int, seed: int) -> Iterator[str]:
    """Yield distinct questions that made-up businesses are asked, in all wordings, and answers."""
    rng = random.Random(seed)
    known: set[str] = set()
    while len(known) < n_texts:
        for note in make_business(rng, dict(lists)).notes:
            for text in (*note.questions, *split_sentences(note.answer)):
                if text not in known:
                    known.add(text)
                    yield text if rng.random() < 0.6 else as_written(rng, text)


def fresh(texts: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """Yield the texts that are not among the known ones, none twice, whatever their case."""
    seen = {text.lower() for text in known}
    for text in texts:
        if text.lower() not in seen:
            seen.add(text.lower())
            yield text
