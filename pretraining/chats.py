# ruff: noqa: E501 - sentences in tables read best on one line
"""Chats of made-up businesses as promptbot prompts them: persona, facts, notes, examples, turns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from pretraining import wordings
from pretraining.businesses import (
    Business,
    Note,
    as_written,
    fallback_sentence,
    make_business,
)
from pretraining.episodes import About, Mark, Piece, Turn, shown, system, target, user
from pretraining.grammar import TOPICS
from pretraining.world import World

ABSENT = 0.33
"""Share of the questions about notes that none of those shown answers."""
N_SHOWN = (1, 1, 1, 1, 2, 3, 3, 3, 4, 5)
"""How many notes a prompt shows: the shipped bots show one."""
UNSEEN = 0.02
"""Loss weight of a reply that nothing in the prompt tells."""
NOTE_RULES = (
    ("Answer with the notes. If no note fits, say: ", ""),
    ("Answer with the notes. If no note fits, say: ", ""),
    ("Answer with the notes. If no note fits, say: ", ""),
    ("Use the notes below. If they do not answer the question, say: ", ""),
    ("Answer from these notes only. When none of them fits, reply: ", ""),
    ('Answer with one of the notes. If none fits, say "', '"'),
    ("Here is what you know. For everything else say: ", ""),
    ("Use only the notes. If the answer is not there, write: ", ""),
    ("The notes hold the answers. If nothing matches, answer: ", ""),
    ("Reply with the note that answers the question. Otherwise say: ", ""),
    ('If the notes do not help, answer "', '". Else answer with the note.'),
    ("Fallback when no note is about the question: ", ""),
    ("Look into the notes first. Not there? Then say: ", ""),
    ("Say this if you cannot find the answer in the notes: ", ""),
)
SURE_RULES = (
    "Answer with the notes.",
    "Answer with the notes.",
    "Answer with the notes.",
    "Use the notes below.",
    "Answer from these notes.",
    "Here is what you know.",
    "The notes hold the answers.",
    "Reply with the note that answers the question.",
)
"""Rules where the nearest note is surely right, as the encoder sees it: no fallback is offered."""
SURE = 0.3
"""Share of the prompts that show the right note without an offer of the fallback."""
LAYOUTS = (
    (0.75, "Q: {q}\nA: "),
    (0.06, "Question: {q}\nAnswer: "),
    (0.05, "- {q} "),
    (0.05, "Customer: {q}\nReply: "),
    (0.05, "* {q}\n  "),
    (0.04, "Note: {q}\n"),
)


@dataclass(frozen=True)
class Fact:
    """Something that the system prompt may state and a customer may ask."""

    said: tuple[str, ...]
    """How the system prompt states it; {} is the value."""
    asked: tuple[str, ...]
    replies: tuple[str, ...]


FACTS: dict[str, Fact] = {
    "bot": Fact(
        ("Your name is {}.", "You are called {}.", "You are {}.", "You go by the name {}.",
         "People call you {}.", "You answer as {}.",
         "Your name: {}.", "This bot is named {}.", "The customers know you under the name {}.",
         "You introduce yourself as {}.", "Call yourself {}.", "The assistant's name is {}.",
         "Guests say {} to you.", "You were given the name {}."),
        ("What is your name?", "Who are you?", "What should I call you?", "Who am I talking to?",
         "Do you have a name?", "Tell me your name", "And you are?", "May I ask your name?",
         "How are you called?", "Who is this?", "With whom am I speaking?", "Your name please",
         "Introduce yourself", "what do they call you",
         "How do I call you?", "Under what name do you work?", "what name did they give you"),
        ("My name is {}.", "I am {}.", "I'm {}.", "You can call me {}.", "This is {}."),
    ),
    "company": Fact(
        ("You work for {}.", "The company is {}.", "You speak for {}.", "We are {}.",
         "Company: {}.", "You represent {}.", "You are employed by {}.",
         "The name of the firm is {}.", "Your employer is {}.", "You answer for {}.", "All of us belong to {}.",
         "The business is called {}.", "You sit in the office of {}.", "{} pays you."),
        ("Which company is this?", "Who do you work for?", "What company are you from?",
         "What is the name of your company?", "Where do you work?", "Which business is this?",
         "Who is your employer?", "What firm am I talking to?",
         "What is this business called?", "To which company do you belong?", "Whose hotline is this?",
         "who am I dealing with, which company"),
        ("I work for {}.", "This is {}.", "You are talking to {}.", "We are {}."),
    ),
    "hours": Fact(
        ("We are open {}.", "Opening hours: {}.", "The doors are open {}.", "Open {}.",
         "Hours: {}.", "You can be visited {}.",
         "The shop opens {}.", "People may come {}.", "Somebody is here {}.", "Our hours are {}.",
         "We work {}.", "Customers are welcome {}.", "The counter is staffed {}."),
        ("When are you open?", "What are your opening hours?", "When do you close?",
         "How late are you open?", "What time do you open?", "Are you open now?",
         "When can I visit you?", "until when can I come", "your hours?",
         "At what times can I come by?", "When is somebody at the counter?", "From when on are you there?",
         "how long are you there today"),
        ("We are open {}.", "Our opening hours are {}.", "You can come {}."),
    ),
    "address": Fact(
        ("The address is {}.", "Address: {}.", "We are at {}.", "You find us at {}.",
         "The shop is at {}.",
         "Our place is at {}.", "Visitors come to {}.", "The building is at {}.", "You sit at {}.",
         "The entrance is at {}.", "Our door is at {}."),
        ("Where are you?", "What is your address?", "How do I find you?", "Where is the shop?",
         "Which street are you in?", "Where do I have to go?", "where are you located",
         "Can you give me the address?",
         "To which street do I go?", "What is the way to you?", "Where is your building?", "where is your door"),
        ("We are at {}.", "Our address is {}.", "You find us at {}.", "Come to {}."),
    ),
    "phone": Fact(
        ("The phone number is {}.", "Phone: {}.", "Call {}.", "Our number is {}.",
         "The hotline is {}.", "Telephone {}.",
         "Dial {}.", "One reaches us at {}.", "Ring {}.", "By phone we are at {}.", "For calls: {}.",
         "Customers call {}."),
        ("What is your phone number?", "How can I call you?", "Can I have your number?",
         "Which number do I call?", "Do you have a hotline?", "I would like to call you",
         "Can I phone you?", "give me the number please",
         "How do I reach you by phone?", "Which number is yours?", "What number do I have to ring?",
         "at what number are you reachable"),
        ("Our number is {}.", "You can call us at {}.", "Please call {}.", "The number is {}."),
    ),
    "email": Fact(
        ("The email address is {}.", "Email: {}.", "Mail goes to {}.", "Write to {}.", "Letters by mail reach us at {}.", "Our mailbox is {}.",
         "For mail use {}.", "Messages go to {}."),
        ("What is your email?", "Where can I write to?", "Can I send you an email?",
         "Which mail address do you have?", "How do I reach you by mail?"),
        ("Write to {}.", "Our email address is {}.", "You can write to {}."),
    ),
    "boss": Fact(
        ("The manager is {}.", "Manager: {}.", "Your boss is {}.", "The owner is {}.",
         "{} runs the place.", "{} is in charge.", "The place belongs to {}.", "You report to {}.",
         "The head of the house is {}.", "Everything is decided by {}."),
        ("Who is your boss?", "Who is the manager?", "Who runs this place?", "Who is in charge?",
         "Who owns it?", "What is the name of the manager?"),
        ("The manager is {}.", "That is {}.", "{} is in charge.", "Our boss is {}."),
    ),
    "city": Fact(
        ("The office is in {}.", "City: {}.", "We are based in {}.", "You live in {}.",
         "You come from {}.", "You are from {}.", "Your home is {}.", "Our seat is {}.", "Everything happens in {}."),
        ("Which city are you in?", "Where are you from?", "In which town are you?",
         "Where do you live?", "Where is the company based?"),
        ("We are in {}.", "I am from {}.", "In {}.", "It is in {}."),
    ),
    "job": Fact(
        ("You work as {}.", "Your job is {}.", "By profession you are {}.", "Your role: {}.", "You earn your living as {}.", "In life you are {}.",
         "You have learned to be {}."),
        ("What do you do?", "What is your job?", "What do you do for a living?",
         "What is your profession?", "What are you?"),
        ("I am {}.", "I work as {}.", "My job is {}."),
    ),
    "age": Fact(
        ("You are {} years old.", "Your age is {}.", "You turned {} this year.", "Age: {}.", "You have lived for {} years.", "You are {}, and proud of it."),
        ("How old are you?", "What is your age?", "Are you old?", "when were you born, how old are you"),
        ("I am {} years old.", "I am {}.", "My age is {}."),
    ),
    "price": Fact(
        ("Tickets cost {}.", "Entry is {}.", "The price is {}.", "Everything costs {}.", "A visit costs {}.", "We charge {}.", "One pays {}.", "For {} people get in."),
        ("What does it cost?", "How much is it?", "What is the price?", "How much do I pay?",
         "How expensive is it?", "what do you charge"),
        ("It costs {}.", "The price is {}.", "You pay {}.", "That is {}."),
    ),
}  # fmt: skip

TOLD: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    # what the user says; the reply to it; what is asked later; the reply then
    "name": (
        ("My name is {}", "I am {}", "I'm {}", "Hi, I'm {}.", "This is {} speaking", "Call me {}",
         "Hello, my name is {}", "{} here", "You can call me {}", "my name's {}",
         "They call me {}", "I go by {}", "Good day, {} is my name", "Just say {} to me", "It's {} again",
         "The name is {}", "my friends say {} to me"),
        ("Nice to meet you, {}!", "Hello {}!", "Hi {}, how can I help?", "Welcome, {}.",
         "Good to see you, {}.", "Pleased to meet you, {}."),
        ("What is my name?", "Do you remember my name?", "Who am I?", "What was my name again?",
         "Do you still know my name?", "How am I called?", "tell me my name", "what did I say my name was",
         "What do you call me?", "Who is talking to you?", "What name did I give you?", "By what name do you know me?"),
        ("Your name is {}.", "You are {}.", "You told me your name is {}.", "Of course, {}."),
    ),
    "city": (
        ("I live in {}", "I am from {}", "I come from {}", "My home is {}", "I'm calling from {}",
         "I was born in {}", "I moved to {}", "I spent my childhood in {}", "We live in {} now", "My town is {}"),
        ("{} sounds nice.", "Good to know that you are in {}.", "{}, I see.", "Greetings to {}!"),
        ("Where do I live?", "Which city am I from?", "Where am I from?", "Do you remember my city?",
         "where was I calling from", "What is my town?", "In which city do I live?", "Where is my home?"),
        ("You live in {}.", "You are from {}.", "You said {}.", "In {}."),
    ),
    "color": (
        ("My favourite color is {}", "I like {} best", "I love the color {}", "{} is my favourite color"),
        ("{} is a nice color.", "I see, {}.", "{}, lovely."),
        ("What is my favourite color?", "Which color do I like?", "What color do I love?"),
        ("Your favourite color is {}.", "You like {}.", "It is {}."),
    ),
    "pet": (
        ("I have a {}", "My pet is a {}", "There is a {} in my house", "I own a {}", "I just got a {}", "My {} is waiting for me", "I must feed my {}", "I live with a {}",
         "I look after a {}", "We keep a {} in the garden"),
        ("A {}, how nice!", "Say hello to the {}.", "A {} is good company."),
        ("What pet do I have?", "Which animal do I own?", "What animal lives with me?",
         "Do you remember my pet?", "What do I have to feed?", "Which animal did I tell you about?",
         "what kind of animal is mine"),
        ("You have a {}.", "Your pet is a {}.", "A {}."),
    ),
    "order": (
        ("My order number is {}", "It is about order {}", "The order is {}", "order no. {}",
         "I have order number {}", "My number is {}", "I ordered under {}", "Reference {}"),
        ("Thank you, order {}.", "I see order {}.", "I noted {}.", "Got it, {}."),
        ("What was my order number?", "Which order do I have?", "Can you repeat my number?",
         "Do you have my order number?"),
        ("Your order number is {}.", "It is {}.", "You gave me {}."),
    ),
    "food": (
        ("I like to eat {}", "My favourite food is {}", "I could eat {} every day", "I love {}", "{} is what I eat most", "I cooked {} today",
         "Nothing beats {}"),
        ("{} is tasty.", "Enjoy your {}!", "{}, good choice."),
        ("What is my favourite food?", "What do I like to eat?", "Which food do I love?", "What do I eat most?", "Which dish did I mention?"),
        ("You like {}.", "Your favourite food is {}.", "It is {}."),
    ),
    "job": (
        ("I work as {}", "I am {} by trade", "My job: {}", "I earn my money as {}", "I was trained as {}", "By day I am {}", "They hired me as {}"),
        ("{}, interesting!", "That is a good job.", "{} must be hard work."),
        ("What is my job?", "What do I do for a living?", "What is my work?", "Do you know my job?"),
        ("You work as {}.", "Your job is {}.", "You said {}."),
    ),
    "day": (
        ("I will come on {}", "My appointment is on {}", "I have time on {}", "See you on {}", "I will be there on {}", "Let us meet on {}", "Book me in for {}"),
        ("{} is fine.", "Good, {} then.", "I noted {}."),
        ("When is my appointment?", "Which day did I say?", "When do I come?", "What day was it?"),
        ("On {}.", "You come on {}.", "You said {}."),
    ),
}  # fmt: skip

GREETINGS = ("Hi", "Hello", "Hey", "Good morning", "Good evening", "hi there", "hello!", "hey you",
             "Good day", "hi bot", "Good afternoon", "hello there")  # fmt: skip
SOCIAL: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "greet": (
        GREETINGS,
        ("Hello! How can I help you today?", "Good day, how can I help you?", "Hi! What can I do for you?",
         "Welcome! What would you like to know?", "Hello! Nice that you are here.", "Hey, good to see you.",
         "Good day to you.", "Hello and welcome to {name}!", "Hi, this is {name}. What do you need?",
         "Come in, come in!", "Hello, friend."),
    ),
    "thanks": (
        ("Thank you", "Thanks a lot", "thanks!", "Thank you, that helps", "Great, thanks",
         "many thanks", "That was helpful", "thx", "Thank you very much", "Perfect, thank you"),
        ("You are welcome!", "You are very welcome. Is there anything else I can do for you?", "My pleasure.",
         "Gladly.", "Any time!", "Glad I could help.", "Think nothing of it.", "Happy to help!"),
    ),
    "bye": (
        ("Bye", "Goodbye", "See you", "I have to go", "That was all, bye", "good night", "Ciao", "see you later",
         "until next time", "Have a nice day"),
        ("Goodbye, and have a nice day!", "See you soon!", "Take care.", "Bye! Come back any time.",
         "Good bye from all of us at {name}.", "Until next time!"),
    ),
    "angry": (
        ("I am really angry with you", "This is terrible service", "You are useless", "I am so annoyed",
         "this is a joke", "You people are the worst", "I have had enough"),
        ("I am sorry that we let you down. Tell me what happened and I will do my best to put it right.",
         "I am very sorry. How can I make it good?", "I understand that you are upset.",
         "That should not have happened. I am sorry."),
    ),
    "how": (
        ("How are you?", "How's it going?", "how are you today", "Are you well?", "What's up?",
         "how do you do", "How is your day?"),
        ("I am fine, thank you. And you?", "Very well, thanks for asking.", "Great, thanks.",
         "All good here. How can I help?", "Busy, but happy."),
    ),
    "bot": (
        ("Are you a robot?", "Am I talking to a machine?", "Are you human?", "are you real", "Is this a bot?",
         "Can I speak to a human?"),
        ("I am a computer program, but I do my best.", "I am a bot. A colleague can take over any time.",
         "Yes, I am a machine.", "I am only a program, but a friendly one."),
    ),
    "lost": (
        ("I don't understand this at all", "What do you mean?", "I am confused", "that makes no sense",
         "Huh?", "I don't get it"),
        ("That happens to everybody. Let us go through it again.", "I am sorry, let me say it again.",
         "Which part is not clear?", "No problem, ask me again."),
    ),
    "ok": (
        ("ok", "Okay", "I see", "alright", "Good", "fine", "got it"),
        ("Good. Anything else?", "Great!", "Is there anything else?", "Fine. I am here if you need me."),
    ),
}  # fmt: skip
"""Small talk that depends on no fact: what is said, and what a bot's own examples may answer."""


@dataclass
class Scene:
    """A chat while it is composed: what the prompt states, and what was said."""

    business: Business
    fallback: str
    facts: dict[str, str] = field(default_factory=dict)
    ending: str = ""
    """What every reply ends with, where the prompt asks for it."""
    drawn: dict[str, wordings.Wording] = field(default_factory=dict)
    """The wordings of facts about a drawn thing."""
    is_named: bool = False
    """Whether the prompt or the user tells the user's name."""
    is_sure: bool = False
    """Whether the prompt does not offer the fallback, which then nothing tells."""

    def reply(self, *pieces: Piece) -> Turn:
        """Return a target, with the ending that the prompt asks for."""
        if self.ending:
            return target(*pieces, " ", Mark(self.ending))
        return target(*pieces)

    def unanswered(self, asked: tuple[str, About | None], reply: str = "") -> list[Turn]:
        """Return a question that nothing said answers, with the fallback or another reply.

        `asked`: the question and what its summary is of.
        """
        question, about = asked
        if self.is_sure and not reply:
            return [user(question, row=about), shown(Mark(self.fallback), weight=UNSEEN)]
        return [user(question, row=about), self.reply(reply or Mark(self.fallback))]


def split_mark(pattern: str, value: str, about: str | None = None) -> tuple[Piece, ...]:
    """Return the pieces of a pattern whose {} is a copied value; `about` is what it answers."""
    before, found, after = pattern.partition("{}")
    if not found:
        return (pattern,)
    return tuple(p for p in (before, Mark(value, about), after) if p != "")


UNTOLD = "You have not told me that yet."
"""What a bot without notes answers who asks for what she never told."""
ASKED_TOO_EARLY = 0.06
"""Share of what a user tells that she asks for before: the same question has another answer then."""
CONTRADICTING = (
    "chitchat:2",
    "chitchat:4",
    "chitchat:6",
    "chitchat:14",
    "chitchat:30",
    "chitchat:67",
)
"""Small talk of a bot without a name, an age, a maker, a boss or a home, which knows nothing of the
user: its usual replies contradict a prompt that states them, or a user who told them."""
WRITTEN = 0.25
"""Share of the questions for a fact that are what people wrote, where there is such."""
OF_THE_BOT = ("bot", "boss", "job", "age")
"""Facts that no note of a business answers."""
ODD = 0.15
"""Share of the facts of a kind in `TYPED` that stand in any sentence."""
TYPED = ("hours", "address", "phone", "email", "price")
"""Facts that are known by their look, whatever stands around them."""


def fact_values(r: Random, world: World, b: Business) -> dict[str, str]:
    """Return a value for each fact, mostly those of the business."""
    article = "an" if (job := r.choice(world.lists["jobs"]))[0] in "aeiou" else "a"
    first, last = r.choice(world.lists["first_names"]), r.choice(world.lists["last_names"])
    bot = r.choice((first, f"{first} {last}", r.choice(world.lists["gems"]).title(), f"{first}bot"))
    return {
        "bot": bot,
        "company": b.name,
        "hours": b.hours,
        "address": b.address,
        "phone": b.phone,
        "email": b.email,
        "boss": b.owner,
        "city": b.city,
        "job": f"{article} {job}",
        "age": str(r.randint(18, 99)),
        "price": f"{r.randint(2, 99)} {r.choice(('euros', 'dollars', 'pounds'))}",
    }


def persona(
    r: Random, world: World, scene: Scene, n_facts: int, n_things: int = 0, endings: float = 0.15
) -> list[Piece]:
    """Return the opening of a system prompt: role, manner, facts, in varied wording."""
    b = scene.business
    values = fact_values(r, world, b)
    role = r.choice(wordings.ROLES)
    company, bot = FACTS["company"].asked[0], FACTS["bot"].asked[0]
    x = r.random()
    named = False
    pieces: list[Piece]
    if x < 0.35:
        pieces = [f"You are {role} of ", Mark(b.name, company), "."]
        scene.facts["company"] = b.name
    elif x < 0.5:
        pieces = [f"You are {role} of ", Mark(b.name, company), f", a {b.kind} in "]
        pieces += [Mark(b.city, FACTS["city"].asked[0]), "."]
        scene.facts.update(company=b.name, city=b.city)
    elif x < 0.68:
        pieces = ["You are ", Mark(values["bot"], bot), f", {role} at ", Mark(b.name, company), "."]
        scene.facts.update(company=b.name, bot=values["bot"])
    elif x < 0.72:
        pieces = [f"You are {role} at a {b.kind}."]
    elif x < 0.8:
        pieces = [wordings.pick(r, wordings.HELPING).replace("{}", b.kind)]
        # Often its name stands beside it: who asks for the company wants that, not the kind.
        named = r.random() < 0.5
    elif x < 0.88:
        pieces = ["You are ", Mark(values["bot"], bot), ", "]
        pieces += [Mark(values["job"], FACTS["job"].asked[0]), "."]
        scene.facts.update(bot=values["bot"], job=values["job"])
    else:
        pieces = []
    extra: list[list[Piece]] = []
    names = [k for k in FACTS if k not in scene.facts]
    drawn = r.sample(names, min(n_facts, len(names)))
    if named and n_facts and "company" not in drawn:
        drawn[-1] = "company"
    for name in drawn:
        scene.facts[name] = values[name]
        fact = FACTS[name]
        said = r.choice(fact.said)
        if r.random() < 0.8:
            said = wordings.pick(r, wordings.MORE_FACTS[name][0])
        asked: str | None = fact.asked[0]
        if name in TYPED and r.random() < ODD:
            said, asked = wordings.sentence(r, world).rstrip(".!?") + ".", None
        extra.append(list(split_mark(said, values[name], asked)))
    for manner in r.sample(wordings.MANNERS, r.choice((0, 1, 1, 2))):
        extra.append([manner])
    if r.random() < endings:
        scene.ending = r.choice(wordings.ENDINGS)
        x = r.random()
        if x < 0.25:
            scene.ending = r.choice(world.sayings)
        elif x < 0.55:
            words = " ".join(r.sample(world.words, r.randint(1, 5)))
            scene.ending = words.capitalize() + r.choice((".", "!", "?", ""))
        elif x < 0.7:
            # As people begin a sentence: in quotes its first word is other tokens than in a reply.
            words = " ".join(off_topic(r, world)[0].split()[: r.randint(2, 4)]).rstrip(".,?!")
            scene.ending = words[:1].upper() + words[1:] + r.choice((".", "!", ""))
        rule = wordings.pick(r, wordings.END_RULES)
        extra.append(list(split_mark(rule, scene.ending)))
    for i in range(n_things):
        wording = wordings.drawn(r, world, r.choice(wordings.THINGS))
        name, value = f"thing {i}", wordings.value(r, world, wording.values)
        if wording.question in {w.question for w in scene.drawn.values()}:
            continue
        scene.facts[name], scene.drawn[name] = value, wording
        extra.append(list(split_mark(wordings.pick(r, wording.said), value, wording.question)))
    r.shuffle(extra)
    for sentence in extra:
        pieces += [*([" "] if pieces else []), *sentence]
    return pieces


def notes_part(
    r: Random,
    fallback: str,
    notes: Sequence[tuple[str, str]],
    rows: Sequence[About] | None = None,
    is_sure: bool = False,
) -> list[Piece]:
    """Return the part of the system prompt with the notes and what to say when none fits.

    `rows` say what the questions' summaries are of, where that is not the questions themselves;
    where `is_sure`, the fallback is not offered.
    """
    pieces: list[Piece]
    if is_sure:
        pieces = [r.choice(SURE_RULES)]
    else:
        before, after = r.choice(NOTE_RULES)
        pieces = [before, Mark(fallback), after]
    x = r.random()
    layout = LAYOUTS[0][1]
    for share, known in LAYOUTS:
        layout = known
        x -= share
        if x < 0:
            break
    abouts = rows or [question for question, _ in notes]
    for (question, answer), about in zip(notes, abouts, strict=True):
        pieces += ["\n\n" + layout.replace("{q}", question), Mark(answer, about)]
    return pieces


def known_part(r: Random, scene: Scene, listed: Sequence[tuple[str, Note]]) -> list[Piece]:
    """Return `notes_part` of a business's notes, each with the question it is shown by."""
    notes = [(asked, note.answer) for asked, note in listed]
    abouts = [note.about(asked) for asked, note in listed]
    return notes_part(r, scene.fallback, notes, abouts, scene.is_sure)


def longer(r: Random, world: World, answer: str) -> str:
    """Return an answer as notes have them: often with a second sentence, a quoted name, an address.

    Copying must not end at the first full stop, and must not depend on what is likely.
    """
    x = r.random()
    if x < 0.3:
        second = r.choice(world.note_answers)
        return f"{answer} {second}" if len(answer) + len(second) < 190 else answer
    if x < 0.42:
        words = " ".join(r.sample(world.words, r.randint(1, 3)))
        words = r.choice((words, words.capitalize(), words.title(), "My " + words))
        form = r.choice(
            ('{} Click "{}".', '{} Look under "{}" in the menu.', '"{1}": {0}', '{} It is called "{}".',
             '{} Press "{}" and wait.', '{} Go to "{}", then "Settings".', "{} Write to {}@{}.example.",
             "{} ({})", "{} See {}.{}.com.", '{} Choose "{}" at the checkout; that is all.')
        )  # fmt: skip
        return form.format(
            answer, words if "@" not in form else r.choice(world.words), r.choice(world.words)
        )
    if x < 0.5:
        made = r.sample(world.words, r.randint(3, 12))
        made = [wordings.invented(r, world) if r.random() < 0.2 else w for w in made]
        made = [w.capitalize() if r.random() < 0.25 else w for w in made]
        made = [w + r.choice(("", "", "", ",", ".", ";", f" {r.randint(1, 999)}")) for w in made]
        return " ".join(made).rstrip(",;.") + "."
    return answer


def lengthened(r: Random, world: World, b: Business) -> Business:
    """Return a business some of whose answers are longer."""
    return replace(b, notes=tuple(replace(n, answer=longer(r, world, n.answer)) for n in b.notes))


def near_business(r: Random, world: World, n_notes: int) -> Business:
    """Return a business, mostly one with many topics that are near to one another."""
    near = world.topic_similarity if r.random() < 0.75 else None
    return make_business(r, world.lists, n_notes=n_notes, near=near)


def similar_notes(r: Random, world: World, b: Business, topic: str, k: int) -> list[Note]:
    """Return k notes of a business near to a topic (the topic's own first), most similar last."""
    near = world.topic_similarity
    own = [n for n in b.notes if n.topic == topic]
    other = [n for n in b.notes if n.topic != topic]
    r.shuffle(own)
    other.sort(key=lambda n: near.get((topic, n.topic), 0.0) + r.gauss(0.0, 0.08), reverse=True)
    return (own + other)[:k][::-1]


def arrange(r: Random, notes: list[Note], right: Note | None) -> list[Note]:
    """Return notes in the order of retrieval: the right one mostly last, as the encoder puts it."""
    if right is not None:
        notes = [n for n in notes if n is not right]
        x = r.random()
        at = (
            len(notes)
            if x < 0.72
            else max(0, len(notes) - 1)
            if x < 0.88
            else r.randint(0, len(notes))
        )
        notes.insert(at, right)
    elif r.random() < 0.15:
        r.shuffle(notes)
    return notes


def ask(r: Random, note: Note, shown_question: str = "") -> Turn:
    """Return a customer's wording of a note's question, mostly another than the one shown."""
    others = [q for q in note.questions if q != shown_question]
    question = shown_question
    if not question or (others and r.random() < 0.9):
        question = r.choice(others)
    return user(as_written(r, question), row=note.about(question))


def off_topic(r: Random, world: World, scene: Scene | None = None) -> tuple[str, int | str]:
    """Return a question about anything else, with its row or the text whose summary it has.

    `scene`: what the prompt tells; then it may be a question for another fact of the bot, or for
    what the user never told.
    """
    if scene is not None and r.random() < 0.08:
        return untold(r, world, scene)
    unknown = [f for f in OF_THE_BOT if scene is not None and f not in scene.facts]
    if unknown and r.random() < 0.1:
        name = r.choice(unknown)
        return as_written(r, fact_question(r, world, name)), FACTS[name].asked[0]
    row = r.choice(world.questions)
    return world.texts[row], row


def untold(r: Random, world: World, scene: Scene, kinds: Collection[str] = ()) -> tuple[str, str]:
    """Return a question for what the user never told, with the text whose summary it has.

    `kinds`: of the values that she did tell.
    """
    if not scene.is_named and "first" not in kinds and r.random() < 0.6:
        wording = wordings.OWN_NAME
        asked = own_name_question(r, world, wordings.pick(r, wording.asked))
    else:
        others = [w for w in wordings.TOLD if w.values not in kinds and w is not wordings.OWN_NAME]
        wording = wordings.drawn(r, world, r.choice(others))
        asked = wordings.pick(r, wording.asked)
    return as_written(r, asked), wording.question


def fact_question(r: Random, world: World, name: str) -> str:
    """Return a question for a fact: what people wrote, or a wording of ours."""
    x = r.random()
    if x < WRITTEN and world.asked.get(name):
        return world.texts[r.choice(world.asked[name])]
    if x < 0.88:
        return wordings.pick(r, wordings.MORE_FACTS[name][1])
    return r.choice(FACTS[name].asked)


def own_name_question(r: Random, world: World, ours: str) -> str:
    """Return a question for the user's own name: what people wrote, or else our wording."""
    if r.random() < WRITTEN and world.asked["user"]:
        return world.texts[r.choice(world.asked["user"])]
    return ours


def social_turns(
    r: Random, world: World, scene: Scene, n: int
) -> tuple[list[Turn], dict[str, str]]:
    """Return example turns of a bot's own small talk, and the reply it showed for each kind."""
    turns: list[Turn] = []
    known: dict[str, str] = {}
    kinds = r.sample([*SOCIAL, "off", "chitchat", "chitchat"], n)
    for kind in kinds:
        if kind == "off":
            question, row = off_topic(r, world, scene)
            turns += [user(question, row=row), shown(Mark(scene.fallback))]
        elif kind == "chitchat":
            label = r.choice(world.chitchat)
            reply = world.replies[label] if r.random() < 0.5 else r.choice(world.sayings)
            row = r.choice(world.classes[label])
            turns += [user(world.texts[row], row=row), shown(Mark(reply))]
            known[label] = reply
        else:
            says, replies = SOCIAL[kind]
            reply = r.choice(replies).replace("{name}", scene.business.name)
            turns += [user(r.choice(says)), shown(Mark(reply))]
            known[kind] = reply
    return turns, known


def small_talk(r: Random, world: World, scene: Scene, known: dict[str, str]) -> list[Turn]:
    """Return a turn of small talk: as an example answered it, else in the usual way."""
    if known and r.random() < 0.75:
        kind = r.choice(sorted(known))
        reply: Piece = Mark(known[kind])
    else:
        kind = r.choice(world.chitchat) if r.random() < 0.7 else r.choice(sorted(SOCIAL))
        while kind in CONTRADICTING:
            kind = r.choice(world.chitchat)
        if kind in known:
            reply = Mark(known[kind])
        else:
            reply = world.replies[kind] if kind in world.replies else SOCIAL[kind][1][0]
    if kind in SOCIAL:
        return [user(r.choice(SOCIAL[kind][0])), scene.reply(reply)]
    row = r.choice(world.classes[kind])
    return [user(world.texts[row], row=row), scene.reply(reply)]


def fact_turns(r: Random, world: World, scene: Scene, name: str = "") -> list[Turn]:
    """Return a question about a fact of the system prompt with its answer."""
    name = name or r.choice(sorted(scene.facts))
    value = scene.facts[name]
    if name in scene.drawn:
        wording = scene.drawn[name]
        question = as_written(r, wordings.pick(r, wording.asked))
        return [
            user(question, row=wording.question),
            scene.reply(*split_mark(wording.reply, value)),
        ]
    fact = asked = FACTS[name]
    other = {"address": "city", "city": "address"}.get(name, name)
    if other not in scene.facts and r.random() < 0.25:
        # Who asks for the street, or for the town, is told the one that is known.
        question, asked = wordings.pick(r, wordings.MORE_FACTS[other][1]), FACTS[other]
    else:
        question = fact_question(r, world, name)
    # Every wording has one summary, that of the fact: the teacher's vectors find another fact
    # nearer for a quarter of them ("How do I call you?": the telephone number).
    return [
        user(as_written(r, question), row=asked.asked[0]),
        scene.reply(*split_mark(r.choice(fact.replies[:2]), value)),
    ]


def told_value(r: Random, world: World, kind: str) -> str:
    """Return something a user may tell about herself."""
    lists = world.lists
    if kind == "order":
        return str(r.randint(100, 9_999_999))
    if kind == "day":
        return r.choice(
            (
                "Monday",
                "Tuesday",
                "Wednesday",
                "Thursday",
                "Friday",
                "Saturday",
                "tomorrow",
                "Sunday",
            )
        )
    if kind == "job":
        job = r.choice(lists["jobs"])
        return f"{'an' if job[0] in 'aeiou' else 'a'} {job}"
    source = {"name": "first_names", "city": "cities", "color": "colors", "pet": "animals"}
    value = r.choice(lists[source.get(kind, "dishes")])
    return value if kind in ("name", "city") else value.lower()


def chat(r: Random, world: World) -> list[Turn]:
    """A bot with notes, examples and small talk: the everyday prompt of promptbot."""
    b = lengthened(r, world, near_business(r, world, r.randint(6, 14)))
    scene = Scene(b, fallback_sentence(r))
    pieces = persona(r, world, scene, r.choice((0, 0, 0, 1, 2)))
    k = r.choice(N_SHOWN)
    note = r.choice(b.notes)
    absent = r.random() < ABSENT
    candidates = similar_notes(r, world, b, note.topic, k + 1)
    if absent:
        if r.random() < 0.35:
            picked = r.sample(list(b.notes), min(k, len(b.notes)))
            picked = [n for n in picked if n is not note]
        else:
            picked = [n for n in candidates if n is not note][-k:]
        picked = arrange(r, picked, None)
    else:
        picked = [n for n in candidates if n is not note][-(k - 1) :] if k > 1 else []
        picked = arrange(r, picked, note)
    asked = {id(n): r.choice(n.questions) for n in picked}
    scene.is_sure = not absent and r.random() < SURE
    rules = known_part(r, scene, [(asked[id(n)], n) for n in picked])
    turns = [
        system(
            *pieces, *(["\n"] if pieces and r.random() < 0.7 else [" "] if pieces else []), *rules
        )
    ]
    known: dict[str, str] = {}
    if r.random() < 0.6:
        examples, known = social_turns(r, world, scene, r.choice((1, 2, 3, 3, 4)))
        turns += examples
    goals = ["note"]
    for _ in range(r.choice((0, 0, 1, 2))):
        goals.insert(
            r.randint(0, len(goals)), r.choice(("social", "social", "other", "fact", "again"))
        )
    if r.random() < 0.12:
        goals = ["social"]
    if r.random() < 0.1:
        goals.insert(r.randint(0, len(goals)), "untold")
    for goal in goals:
        if goal == "note":
            right = scene.reply(Mark(scene.fallback if absent else note.answer))
            if absent and r.random() < 0.3:
                turns += scene.unanswered(off_topic(r, world, scene))
            elif absent:
                turns += [ask(r, note), right]
            else:
                turns += [ask(r, note, asked[id(note)]), right]
        elif goal == "social":
            turns += small_talk(r, world, scene, known)
        elif goal == "fact" and scene.facts:
            turns += fact_turns(r, world, scene)
        elif goal == "untold":
            turns += scene.unanswered(untold(r, world, scene))
        elif goal == "again" and picked:
            again = r.choice(picked)
            turns += [ask(r, again, asked[id(again)]), scene.reply(Mark(again.answer))]
        else:
            turns += scene.unanswered(off_topic(r, world, scene))
    return turns


def many_notes(r: Random, world: World) -> list[Turn]:
    """Notes and several questions about them, some answered, some not: much copying per token."""
    b = lengthened(r, world, near_business(r, world, r.randint(6, 10)))
    scene = Scene(b, fallback_sentence(r))
    pieces = persona(r, world, scene, r.choice((0, 0, 1)))
    topic = r.choice(b.notes).topic
    picked = similar_notes(r, world, b, topic, r.choice(N_SHOWN))
    r.shuffle(picked)

    def answered() -> Note | None:
        return r.choice(picked) if r.random() < 0.64 else None

    first = answered()
    picked = arrange(r, picked, first)  # retrieved for what is asked first
    asked = {id(n): r.choice(n.questions) for n in picked}
    rules = known_part(r, scene, [(asked[id(n)], n) for n in picked])
    turns = [system(*pieces, *(["\n"] if pieces else []), *rules)]
    rest = [n for n in b.notes if n not in picked]
    for i in range(r.randint(2, 5)):
        right = answered() if i else first
        if right is not None:
            turns += [ask(r, right, asked[id(right)]), scene.reply(Mark(right.answer))]
        elif rest and r.random() < 0.72:
            turns += [ask(r, r.choice(rest)), scene.reply(Mark(scene.fallback))]
        else:
            turns += scene.unanswered(off_topic(r, world, scene))
    return turns


def talk(r: Random, world: World) -> list[Turn]:
    """Small talk and questions about the persona, without notes."""
    b = make_business(r, world.lists, n_notes=1)
    scene = Scene(b, fallback_sentence(r))
    pieces = persona(r, world, scene, r.randint(0, 4), endings=0.3)
    turns = [system(*pieces)] if pieces else []
    known: dict[str, str] = {}
    if r.random() < 0.4:
        examples, known = social_turns(r, world, scene, r.randint(1, 4))
        turns += examples
    for _ in range(r.randint(1, 4)):
        if scene.facts and r.random() < 0.5:
            turns += fact_turns(r, world, scene)
        elif r.random() < 0.06:
            turns += scene.unanswered(untold(r, world, scene), UNTOLD)
        else:
            turns += small_talk(r, world, scene, known)
    return turns


def banter(r: Random, world: World) -> list[Turn]:
    """A run of small talk alone: many replies in few tokens."""
    scene = Scene(make_business(r, world.lists, n_notes=1), fallback_sentence(r))
    pieces = persona(r, world, scene, 0, endings=0.35)
    turns = [system(*(pieces or [r.choice(wordings.MANNERS)]))]
    known: dict[str, str] = {}
    if r.random() < 0.3:
        examples, known = social_turns(r, world, scene, r.randint(1, 3))
        turns += examples
    for _ in range(r.randint(5, 10)):
        turns += small_talk(r, world, scene, known)
    return turns


def stated(r: Random, world: World) -> list[Turn]:
    """Facts of the system prompt asked one after the other: much reading in few tokens."""
    scene = Scene(make_business(r, world.lists, n_notes=1), fallback_sentence(r))
    pieces = persona(r, world, scene, r.randint(0, 5), n_things=r.randint(0, 4), endings=0.12)
    turns = [system(*(pieces or [r.choice(wordings.MANNERS)]))]
    names = sorted(scene.facts)
    r.shuffle(names)
    for name in names[: r.randint(3, 6)]:
        turns += fact_turns(r, world, scene, name)
        if r.random() < 0.12:
            turns += small_talk(r, world, scene, {})
    return turns if len(turns) > 1 else [*turns, *small_talk(r, world, scene, {})]


def remember(r: Random, world: World) -> list[Turn]:
    """Things that the user said one to four turns before, asked for."""
    b = make_business(r, world.lists, n_notes=1)
    scene = Scene(b, fallback_sentence(r))
    pieces = persona(r, world, scene, r.randint(0, 2), endings=0.12)
    turns = [system(*pieces)] if pieces and r.random() < 0.85 else []
    if not turns:
        scene.ending = ""
    told: dict[str, tuple[str, tuple[str, ...], str, str]] = {}
    kinds: set[str] = set()
    for _ in range(r.choice((1, 1, 2, 2, 3))):
        x = r.random()
        if x < 0.15:
            kind = r.choice(sorted(TOLD))
            says, replies, asks, later = TOLD[kind]
            said, value = r.choice(says), told_value(r, world, kind)
            heard, reply = r.choice(replies), later[0]
            kinds |= {{"name": "first", "pet": "animal", "food": "dish"}.get(kind, kind)}
        else:
            wording = wordings.OWN_NAME if x < 0.25 else r.choice(wordings.TOLD)
            wording = wordings.drawn(r, world, wording)
            kinds |= {wording.values}
            said, value = wordings.pick(r, wording.said), wordings.value(r, world, wording.values)
            asks, reply = wording.asked, wording.reply
            heard = r.choice(("I see, {}.", "{}, I see.", "{}, good.", "Noted: {}.", "So {}."))
        key = reply.partition("{}")[0]
        if key in told:
            continue
        # Mostly the answer does not repeat it: what is asked later stands in the user's words.
        if r.random() < 0.75 or heard.startswith("{}"):
            x = r.random()
            heard = r.choice(wordings.HEARD) if x < 0.7 else r.choice(world.sayings)
            heard = heard if x < 0.9 else r.choice(SOCIAL["greet"][1][:5])
        said = wordings.told_wording(r, said, wordings.some(r, wordings.BEFORE))
        said = said.rstrip(".") + wordings.some(r, wordings.AFTER)
        question = wordings.spread(asks[0])[0]
        if r.random() < ASKED_TOO_EARLY:
            asked = as_written(r, wordings.pick(r, asks))
            turns += scene.unanswered((asked, question), UNTOLD)
        told[key] = (value, asks, reply, question)
        turns += [user(*split_mark(said, value, question)), _heard(r, scene, heard, value)]
        for _ in range(r.choice((0, 0, 1, 1, 2))):
            turns += small_talk(r, world, scene, {})
    for key in r.sample(sorted(told), r.randint(1, len(told))):
        value, asks, reply, question = told[key]
        asked = wordings.pick(r, asks)
        if key == "Your name is ":
            asked = own_name_question(r, world, asked)
        opening = wordings.some(r, wordings.ASKING)
        asked = opening + (asked[:1].lower() + asked[1:] if opening else asked)
        # As with facts, every wording has one summary: small talk is nearer to many of them.
        turns += [user(as_written(r, asked), row=question), scene.reply(*split_mark(reply, value))]
    if r.random() < 0.2:
        asked_for = untold(r, world, scene, kinds)
        at = len(turns) if r.random() < 0.7 else bool(turns) and turns[0].role == "system"
        turns[at:at] = scene.unanswered(asked_for, UNTOLD)
    return turns


def _heard(r: Random, scene: Scene, heard: str, value: str) -> Turn:
    """Return the bot's answer to what it was told; a free one is nothing to be learnt."""
    if "{}" in heard or scene.ending:
        return scene.reply(*split_mark(heard, value))
    return shown(heard, weight=UNSEEN)


def detail(r: Random, world: World, kind: str) -> str:
    """Return a detail that a user may give."""
    lists = world.lists
    if kind == "number":
        x = r.random()
        if x < 0.6:
            return str(r.randint(10, 99_999_999))
        if x < 0.8:
            return f"{r.choice('ABCDEFGHKLMNPRSTXZ')}{r.choice('ABCDEFGHKLMNPRSTXZ')}-{r.randint(10, 99999)}"
        return f"{r.randint(10, 999)}-{r.randint(100, 9999)}"
    if kind == "name":
        return r.choice((
            r.choice(lists["first_names"]),
            f"{r.choice(lists['first_names'])} {r.choice(lists['last_names'])}",
            f"{r.choice(('Mrs', 'Mr', 'Dr'))} {r.choice(lists['last_names'])}",
        ))  # fmt: skip
    if kind == "date":
        months = "January,February,March,April,May,June,July,August,September,October,November"
        month = r.choice(months.split(","))
        days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
        return r.choice((
            f"{r.randint(1, 30)} {month}", f"{month} {r.randint(1, 30)}", r.choice(days),
            f"{r.choice(days)} at {r.randint(1, 12)} {r.choice(('am', 'pm'))}",
            f"{r.randint(1, 30)}.{r.randint(1, 12)}.20{r.randint(20, 39)}",
            f"{r.choice(days)}, {r.randint(1, 30)} {month}", f"the {r.randint(4, 20)}th of {month}",
        ))  # fmt: skip
    if kind == "email":
        domain = r.choice(world.words)
        return f"{r.choice(lists['first_names']).lower()}{r.choice(('', '.', '_'))}{r.randint(1, 99)}@{domain}.{r.choice(('com', 'org', 'example'))}"
    if kind == "city":
        return r.choice(lists[r.choice(("cities", "countries"))])
    if kind != "thing":
        return wordings.value(r, world, kind)
    return r.choice(
        lists[r.choice(("objects", "clothing", "fruits", "dishes", "instruments"))]
    ).lower()


def copied_kind(r: Random) -> str:
    """Return a kind of detail; those that anything may be, or that many have, more often."""
    if r.random() < 0.6:
        return r.choice(("number", "name", "date", "thing", "thing", "city"))
    return r.choice(sorted(wordings.COPIES))


def copying(r: Random, world: World) -> list[Turn]:
    """Details of the user's message inside a reply whose form examples or the prompt show."""
    b = make_business(r, world.lists, n_notes=1)
    scene = Scene(b, fallback_sentence(r))
    pieces = persona(r, world, scene, 0, endings=0.1)
    kind = copied_kind(r)
    says, replies = wordings.COPIES[kind]
    answered = r.choice(wordings.PAIRS) if r.random() < 0.4 else None
    if answered:
        kind = answered[2]
    kinds = [kind]
    pattern = wordings.pick(r, replies) if r.random() < 0.35 else wordings.sentence(r, world)
    if answered:
        pattern = answered[1]
    if r.random() < 0.15 and pattern.endswith((".", "!")):
        # A second detail, in the order of the message.
        pattern += " " + wordings.sentence(r, world)
        kinds.append(copied_kind(r))
    parts = pattern.split("{}")
    by_rule = r.random() < 0.25
    if by_rule:
        start, _, end = r.choice(wordings.COPY_RULES).partition("{}")
        holes = [r.choice(("NUMBER", "...", "X", "[detail]", k.upper())) for k in kinds]
        pieces += [*([" "] if pieces else []), start]
        for part, hole in zip(parts, [*holes, ""], strict=True):
            pieces += [*(Mark(p) for p in (part,) if p), *(p for p in (hole,) if p)]
        pieces.append(end)
    turns = [system(*pieces)] if pieces else []
    if not turns:
        scene.ending = ""
    x = r.random()
    fixed = wordings.telling(r, world) if x < 0.3 else wordings.pick(r, says)
    if answered:
        fixed = answered[0]
    vary = r.random() < (0.1 if answered else 0.4)
    if not vary and not by_rule and r.random() < 0.4:
        parts = wordings.echoing(r, pattern, fixed).split("{}")

    def pair(make: bool) -> list[Turn]:
        values = []
        for k in kinds:
            if r.random() < 0.82:
                values.append(detail(r, world, k))
                continue
            # Now and then any words, and such as nobody wrote: a detail is known by where it stands.
            words = r.sample(world.words, r.randint(1, 3))
            words = [wordings.invented(r, world) if r.random() < 0.4 else w for w in words]
            values.append(" ".join(words))
        copied: list[Piece] = []
        for part, value in zip(parts, [*values, None], strict=True):
            copied += [Mark(p) for p in (part,) if p]
            copied += [Mark(v) for v in (value,) if v]
        said = fixed
        if vary:
            said = wordings.pick(r, says) if r.random() < 0.6 else wordings.telling(r, world)
        question: list[Piece] = list(split_mark(said, values[0]))
        if len(values) > 1:
            question += [r.choice((", ", " and ", " ", "; ", " for ")), Mark(values[1])]
        return [user(*question), scene.reply(*copied) if make else shown(*copied)]

    if not by_rule or r.random() < 0.3:
        for i in range(r.choice((1, 1, 2, 2, 3))):
            # Once one example showed the form, the next is a question of its own.
            turns += pair(bool(scene.ending) or (i > 0 and r.random() < 0.5))
    for _ in range(r.randint(3, 6)):
        turns += pair(True)
    return turns


def one_word(r: Random, world: World) -> list[Turn]:
    """Facts asked where the prompt wants an answer in one word."""
    said, asks, kind = r.choice(wordings.WORD_FACTS)
    source = {"first": "first_names", "city": "cities", "country": "countries"}.get(
        kind, f"{kind}s"
    )
    n = r.randint(1, 4)
    things = r.sample([o for o in world.lists["objects"] if " " not in o], n)
    answers = r.sample([v for v in world.lists[source] if " " not in v], n)
    pieces: list[Piece] = [r.choice(wordings.MANNERS) + " "] if r.random() < 0.4 else []
    if r.random() < 0.3:
        place = make_business(r, world.lists, n_notes=1).kind
        pieces = [wordings.pick(r, wordings.HELPING).replace("{}", place) + " "]
    pieces.append(wordings.pick(r, wordings.ONE_WORD))
    for thing, answer in zip(things, answers, strict=True):
        pieces += [" ", *split_mark(said.replace("{x}", thing), answer)]
    turns = [system(*pieces)]
    order = list(range(n))
    r.shuffle(order)
    for i in order:
        turns += [
            user(as_written(r, r.choice(asks).replace("{x}", things[i]))),
            target(Mark(answers[i])),
        ]
    return turns


def topic_texts() -> list[tuple[str, str]]:
    """Return (topic, question) for every topic, slots as plain words: what similarity is made of."""
    return [(t.name, q.replace("{", "").replace("}", "")) for t in TOPICS for q in t.questions]
