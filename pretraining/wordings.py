# ruff: noqa: E501 - sentences in tables read best on one line
"""Wordings by composition: what prompts state, what users tell and ask, and how replies run.

A pattern such as "[The shop|Our house] is [at|located at] {}." stands for all its choices. So a
few lines make thousands of surroundings for a value that is copied, and none can be remembered
instead of read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import product
from random import Random

from pretraining.businesses import CURRENCIES, DAYS
from pretraining.world import World

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


@cache
def spread(pattern: str) -> tuple[str, ...]:
    """Return every text that a pattern with [choices|in brackets] stands for."""
    parts = [p.split("|") for p in re.split(r"\[([^]]*)\]", pattern)[1::2]]
    fixed = re.split(r"\[[^]]*\]", pattern)
    result = []
    for chosen in product(*parts):
        text = "".join(a + b for a, b in zip(fixed, (*chosen, ""), strict=True))
        result.append(text[:1].upper() + text[1:])
    return tuple(result)


def pick(r: Random, patterns: tuple[str, ...]) -> str:
    """Return one text of one of the patterns."""
    return r.choice(spread(r.choice(patterns)))


@dataclass(frozen=True)
class Wording:
    """How something is stated, asked for and repeated; {} is its value."""

    said: tuple[str, ...]
    asked: tuple[str, ...]
    reply: str
    values: str = ""
    """The kind of value, see `value`."""

    @property
    def question(self) -> str:
        """The first wording asked: the one that every other has the summary of."""
        return spread(self.asked[0])[0]


KNOW = "[could you tell me|can you tell me|I would like to know|please tell me|do you know|I need to know|I was wondering|tell me]"
GIVE = "[could you give me|can you give me|please give me|I need|may I have|do you have|let me have|I am looking for]"

MORE_FACTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # further ways to state and to ask for what `chats.FACTS` holds
    "bot": (
        ("[In this chat|Here|At work|On the phone|To the guests] you are [called|named] {}.",
         "[The name|Your name] [on your badge|at this desk|in this chat|here] is {}.",
         "[Customers|Visitors|Callers|Guests|Colleagues] [call you|ask for|speak to|write to] {}.",
         "{} is [your name|what you are called|the name you go by|how you sign].",
         "[Sign|Introduce yourself|Present yourself|Speak|Appear] as {}.", "They [named|baptised|christened] you {}."),
        ("[|so |well, ][what|which] name [do you have|do you use|do you go by|is yours|stands on your badge|were you given]?",
         "[who am I writing with|who am I chatting with|who do I speak to|who is answering me|who is there|who might you be]?",
         KNOW + " [your name|what your name is|who you are|what you are called|who is writing]",
         "[your name|name|you are]?"),
    ),
    "company": (
        ("[The house|The shop|The place|The firm|The organisation|This service|The team] is [called|named|known as] {}.",
         "[You are part of|You are on the staff of|Your salary comes from|You write for|This chat is run by|This is the chat of|This page is from|You serve the guests of|You look after the customers of] {}.",
         "{} [has hired you|is your employer|runs this chat|is who you work for|is the firm that you speak for|owns this chat]."),
        ("[which|what] [company|firm|business|shop|organisation] [is it|do you belong to|are you with|do you speak for|runs this chat|hired you|employs you|is that]?",
         "[what|how] is [the shop|the firm|this place|your company|the organisation|your employer] called?",
         "[for whom do you work|who pays you|who hired you|on whose behalf do you write|whose service is this|whose chat is this|whose assistant are you|who is responsible for this chat|who runs this page]?",
         KNOW + " [the name of your firm|which company this is|who you work for|what this place is called|who runs this]"),
    ),
    "hours": (
        ("[The office|The shop|The place|The desk|Our house|The team] is [open|there for you|staffed|occupied|reachable] {}.",
         "[Guests|Customers|Clients|People] are [served|received|let in|seen] {}.",
         "[Business hours|Times|Open times|Our times|Hours of work]: {}.", "[Come|Come by|Come over|Look in] {}.",
         "{} [we are here|the doors are open|you find us here|the lights are on]."),
        ("[when|at what times|on which days|during which hours|how long] [are you there|is the office open|is the shop open|are you reachable|do you serve customers|can I come over|are the doors open|do you work]?",
         KNOW + " [your hours|your opening times|when you are open|when you close|how late you are open|when I can come]",
         "[when|what time] do you [open|close|start|stop|begin|shut]?"),
    ),
    "address": (
        ("[The office|The shop|The studio|Our house|The desk|The team] is [at|located at|to be found at|based at] {}.",
         "[Guests|Customers|Parcels|Letters|Deliveries|Taxis] [come to|go to|are sent to|arrive at] {}.",
         "{} is [our address|where we are|where you find us|the place].", "[Location|Where we are|Street|Our street|Place]: {}."),
        ("[where|in which street|at which address|on which road] [is the office|is the shop|are you located|can I find you|do I find the office|do you sit|is your house|are you to be found]?",
         "[what|which] [street|address|road] is [it|yours|the office in|that]?",
         KNOW + " [your address|the street|where you are|where I find you|where to go|how to find you]", GIVE + " [the address|your address|directions]"),
    ),
    "phone": (
        ("[The office|The desk|The team|Somebody|A colleague|The shop] [answers|picks up|can be called|is reachable|takes calls] at {}.",
         "[Telephone number|Tel|Our line|Our phone|Mobile|Number|Service line]: {}.",
         "{} is [our number|the number to call|our telephone number|the line for questions].",
         "[For questions|In a hurry|If it is urgent|For bookings] [call|dial|telephone] {}."),
        ("[what|which] [number|telephone number|phone number|line] [is it|do you have|should I call|can I call|is the right one|do I use|reaches you]?",
         GIVE + " [your number|a phone number|the telephone number|your telephone|the number of the office]",
         "[can|may|could] I [call|ring|phone|telephone] [you|somebody|the office|a person]?",
         "[how|where] [can I call|do I call|do I phone|can I reach somebody by phone]?"),
    ),
    "email": (
        ("[Mail address|Our mail|Contact|E-mail|Inbox]: {}.", "[Letters|Pictures|Forms|Complaints|Requests] [go to|are sent to|arrive at] {}.",
         "{} is [our address for mail|where mails go|the inbox|read every day]."),
        ("[what|which] [email|email address|mail address] [is it|do you have|should I use|do I write to]?",
         GIVE + " [your email|an email address|your mail address]", "[where|to which address] do I [mail|send it|send the form|email]?"),
    ),
    "boss": (
        ("[The head|The leader|The director|The chief|The boss] [here|of the team|of the place] is {}.", "{} [leads the team|is the director|makes the decisions|is at the head|is your boss|owns the place].",
         "[The team|The shop|The house] is [led|run|owned|managed] by {}."),
        ("[who] [leads the team|is the director|is the boss here|decides here|is the owner|is at the top|manages this]?",
         KNOW + " [who your boss is|who runs this|the name of your boss|who is in charge|who decides]"),
    ),
    "city": (
        ("[The shop|The firm|The team|Our house] [is|sits|can be found] in {}.", "[Town|Place|Where|Home town]: {}.", "{} is [our town|our home|where we are|the city]."),
        ("[which|what] [town|city|place] [is it|are you in|is that|do you sit in]?", KNOW + " [the city|which town you are in|where you sit]"),
    ),
    "job": (
        ("You [make your living as|are employed as|spend your days as|have always been] {}.", "[Profession|Trade|Job|Work]: {}."),
        ("[what|which] [work|trade|profession] [do you do|is yours|do you have|have you learned]?", KNOW + " [your job|what you do|your profession]"),
    ),
    "age": (
        ("You [count|have seen|are now at] {} years.", "{} is [your age|how old you are]."),
        ("[how many years] [do you have|have you lived|do you count]?", KNOW + " [your age|how old you are]"),
    ),
    "price": (
        ("[A ticket|A seat|Admission|The entrance|One hour|A day] [costs|is|comes to] {}.", "[Price|Fee|Cost|Ticket]: {}."),
        ("[what|how much] [do you ask|do I owe|do you take|is the fee|is a ticket|is the entrance]?", KNOW + " [the price|what it costs|how much it is|the fee]"),
    ),
}  # fmt: skip

THINGS: tuple[Wording, ...] = (
    # facts about a drawn thing {x}, which the question names: (said, asked, reply, values)
    Wording(("[The|Our|Your] {role} is [called |]{}.", "{} is [the|our|your] {role}.", "{role}: {}.", "{} works as [the|our] {role}."),
            ("who is [the|your] {role}?", "[who works as|who do you have as] {role}?", KNOW + " who the {role} is", "[the name of the|and the] {role}?"),
            "The {role} is {}.", "name"),
    Wording(("The {room} is {}.", "[You find|Guests find|People find] the {room} {}.", "{room}: {}.", "[Send people to|Show them] the {room}: it is {}."),
            ("where is the {room}?", "[where do I find|how do I get to|how do I find] the {room}?", KNOW + " where the {room} is", "[I am looking for|is there] [the|a] {room}"),
            "The {room} is {}.", "where"),
    Wording(("The {secret} is {}.", "{secret}: {}.", "[Use|We use|Everybody uses|They need] {} as the {secret}.", "{} is the {secret}."),
            ("what is the {secret}?", "[which|what] {secret} do I [need|use|enter|have]?", GIVE + " the {secret}", KNOW + " the {secret}"),
            "The {secret} is {}.", "code"),
    Wording(("The [next |]{event} is [on |]{}.", "{event}: {}.", "[We have|There is|Expect] the {event} on {}.", "{} is the day of the {event}.", "The {event} [takes place|starts|happens] on {}."),
            ("when is the [next |]{event}?", "[on which day is|what day is|is there] [the|a] {event}?", KNOW + " when the {event} is", "[the date of the|and the] {event}?"),
            "The {event} is on {}.", "date"),
    Wording(("[A|The|One] {item} [costs|is|sells for|goes for] {}.", "{item}: {}.", "[We sell|Sell|We give away] the {item} for {}.", "The price of [a|the] {item} is {}."),
            ("how much is [a|the] {item}?", "what does [a|the] {item} cost?", "[what do you want for|what do I pay for|how much do you ask for] the {item}?", KNOW + " the price of the {item}"),
            "The {item} costs {}.", "price"),
    Wording(("The {item} is {}.", "[We have|There is] a {item} in {}.", "[The color of the {item} is|We painted the {item}] {}."),
            ("[what|which] color [is|has] the {item}?", KNOW + " the color of the {item}", "[how does the {item} look|what is the color of the {item}]?"),
            "The {item} is {}.", "color"),
    Wording(("The {item} [comes from|is from|was made in|is imported from] {}.", "[Origin of the {item}|The {item}, made in]: {}."),
            ("where [is|was] the {item} [made|from]?", "[which country does|where does] the {item} come from?", KNOW + " where the {item} comes from"),
            "The {item} comes from {}.", "country"),
    Wording(("The {item} belongs to {}.", "{} [owns|brought|has forgotten] the {item}.", "[The owner of the {item} is|The {item} is for] {}."),
            ("[whose|to whom belongs] the {item}?", "who [owns|has|brought] the {item}?", KNOW + " whose {item} it is"),
            "The {item} belongs to {}.", "name"),
    Wording(("[There are|We have|You look after|Count on] {} {item}s.", "Number of {item}s: {}."),
            ("how many {item}s [are there|do you have|can I see]?", KNOW + " the number of {item}s"),
            "There are {} {item}s.", "count"),
    Wording(("[The|Our|Your] {role} [speaks|was born in|comes from|is away in] {}.", "{} is the home of the {role}."),
            ("where is the {role} [from|now]?", "[which country|what country] [does the {role} come from|is the {role} in]?"), "The {role} is in {}.", "country"),
    Wording(("The {event} [is led by|belongs to|was planned by|is in the hands of] {}.", "{} [plans|leads|looks after] the {event}.", "Ask {} about the {event}."),
            ("who [leads|plans|looks after|is responsible for] the {event}?", "[whom do I ask|who knows] about the {event}?"), "It is {}.", "name"),
    Wording(("[For|At|With] the {event} [people get|there is|we serve] {}.", "The food at the {event} is {}.", "{} is served at the {event}."),
            ("what is [served|there to eat] at the {event}?", "[which dish|what food] do I get at the {event}?"), "There is {}.", "dish"),
    Wording(("The {item} [is kept|stands|can be found|is] {}.", "{} you find the {item}.", "[Look|Search] {} for the {item}."),
            ("where [is|do I find|can I get] the {item}?", "[I am looking for|I need] the {item}", "in what place is the {item}?"), "The {item} is {}.", "where"),
)  # fmt: skip

MORE_TOLD: tuple[Wording, ...] = (
    # what a user tells of a drawn thing, asks later, and is answered
    Wording(("my {relation} is [called|named] {}", "my {relation}'s name is {}", "{} is my {relation}", "the name of my {relation} is {}", "I came with my {relation} {}"),
            ("what is my {relation} called?", "[what is the name of|who is|how did I call] my {relation}?", "what is my {relation}'s name?"), "Your {relation} is called {}.", "name"),
    Wording(("my {item} is {}", "[I painted|they painted] my {item} {}", "I have a {item}, it is {}", "the color of my {item} is {}"),
            ("[what|which] color [is|has] my {item}?", "what is the color of my {item}?"), "Your {item} is {}.", "color"),
    Wording(("I play the {}", "I am learning the {}", "I make music on the {}", "my instrument is the {}", "I have practised the {} for years"),
            ("[which|what] instrument [do I play|did I mention|is mine]?", "what do I make music on?", "what am I [playing|learning]?"), "You play the {}.", "instrument"),
    Wording(("[I like|I do|I train|I love|I am good at] {}", "my sport is {}", "{} is [my hobby|my sport|what I do on Sundays]"),
            ("[which|what] sport [do I like|do I do|is mine|did I name]?", "what is my [sport|hobby]?"), "Your sport is {}.", "sport"),
    Wording(("I was born in {}", "my year of birth is {}", "I [finished school|moved here|got married|started here] in {}"),
            ("[what|which] year [was it|did I say|did I name|did I tell you]?", "in which year was that?"), "It was in {}.", "year"),
    Wording(("my favourite {kind} is the {}", "[I like|I prefer] the {} best, as a {kind}", "of every {kind} I like the {} most", "the {} is my favourite {kind}"),
            ("what is my favourite {kind}?", "which {kind} do I [like best|prefer|like most|love]?"), "Your favourite {kind} is the {}.", "{kind}"),
    Wording(("I {did} [my|a|the] {}", "[yesterday|today|last week|this morning] I {did} a {}", "I {did} the {}, [imagine|finally|sadly|at last]"),
            ("what did I {do}[| again]?", "what was it that I {did}?", "[which thing|what thing] did I {do}?"), "You {did} the {}.", "object"),
    Wording(("[I am flying|I am travelling|I am going|I will drive|we are going] to {}", "my [trip|journey|holiday] goes to {}", "[we spend|I spend] the summer in {}", "I have a ticket to {}"),
            ("where am I [going|travelling]?", "[what is the goal of my trip|where does my journey go|to which place do I travel]?", "where do I [spend my holiday|want to go]?"), "You are going to {}.", "country"),
    Wording(("[I met|I saw|I spoke to|I had lunch with] {} [yesterday|today|this morning|on the train]", "[yesterday|today|last night] [I met|I visited|I called] {}", "{} [came to see me|called me|wrote to me]"),
            ("[whom|who] did I [meet|talk about|mention|see]?", "who was it?", "which person did I [mention|name]?"), "It was {}.", "name"),
    Wording(("[my|the] {item} cost [me |]{}", "I [paid|gave|spent] {} for my {item}", "I bought [a|the] {item} for {}"),
            ("[what|how much] did [my|the] {item} cost?", "what did I pay for the {item}?", "how much was the {item}?"), "The {item} cost {}.", "price"),
    Wording(("[I need it|it must be done|I want to have it|please finish it] by {}", "my deadline is {}", "{} is [my deadline|the last day for me]"),
            ("[by when|until when] do I need it?", "when is my deadline?", "which date did I [give|name]?"), "By {}.", "date"),
    Wording(("I live in {}", "[I rent a flat|I have a house|I stay|my family lives|my place is] in {}", "I am [writing|calling|coming] from {}", "{} is [my town|where I live|home for me]"),
            ("where do I [live|stay|write from]?", "[which|what] [city|town] [do I live in|is mine|did I name]?", "what is my [town|city]?"), "You live in {}.", "city"),
    Wording(("[my name is|I am|I'm|this is|it's] {}", "{} [is my name|here|is what I am called|speaking|writing]", "[friends|my family|my colleagues|they all] [call me|say] {}", "[you may|please] call me {}", "I [am called|go by|answer to|sign as] {}", "I was [named|christened|baptised] {}"),
            ("[what is|what was|tell me] my name[| again]", "[who am I|what am I called|who is writing to you|which name is mine|what do they call me]?", "how do [I sign|my friends call me]?"), "Your name is {}.", "first"),
    Wording(("I [have|own|got|feed|adopted|look after] a {}", "[there is|we have] a {} [in my house|in our garden|at my place|with us]", "my [pet|animal|companion] is a {}", "a {} lives [with me|in my flat|with us]"),
            ("[what|which] [pet|animal] [do I have|is mine|lives with me|do I own|do I feed|did I adopt|is it]?", "what is my [pet|animal]?"), "You have a {}.", "animal"),
    Wording(("my {secret} is {}", "[the|my] {secret}: {}", "[they gave me|I was given|I have] the {secret} {}", "{} is my {secret}"),
            ("what is my {secret}?", "[which|what] {secret} [do I have|did I give you|was it]?", "repeat my {secret}"), "Your {secret} is {}.", "code"),
    Wording(("I [work|earn my money|am employed] as {}", "my [job|trade|profession]: {}", "by [trade|profession] I am {}", "I have been {} for years"),
            ("what is my [job|work|trade|profession]?", "[what do I do for a living|what do I work as|how do I earn my money]?"), "You work as {}.", "job"),
    Wording(("my {relation} [works as|was once|became|is] {}", "{} is what my {relation} [does|became|learned to be]", "my {relation} earns money as {}"),
            ("what does my {relation} [do|work as]?", "[what is the job of|which trade has|what became of] my {relation}?"), "Your {relation} is {}.", "job"),
    Wording(("my {relation} [lives|was born|studies|works|has a house] in {}", "[we visited|I saw] my {relation} in {}", "{} is where my {relation} [lives|studies|works]"),
            ("where does my {relation} [live|study|work]?", "in which [city|town|place] is my {relation}?", "where is my {relation}?"), "Your {relation} is in {}.", "city"),
    Wording(("my {relation} [likes|loves|hates|always eats|is mad about] {}", "[I cooked|I bought|there was] {} for my {relation}", "{} is what my {relation} wants to eat"),
            ("what does my {relation} [like|love|hate|eat]?", "[which food|which dish] did I name for my {relation}?"), "It is {}.", "dish"),
    Wording(("my {relation} has a {}", "I [sold|gave|lent|owe] my {relation} a {}", "my {relation} [lost|found|broke|wants] a {}"),
            ("what does my {relation} have?", "[which thing|what] was it [with|about] my {relation}?", "what did I say about my {relation}?"), "Your {relation} has a {}.", "object"),
    Wording(("I [keep|put|hid|left|store] the {item} {}", "the {item} [stands|lies|is kept] {}", "{} [I keep|stands|lies] my {item}"),
            ("where is [the|my] {item}?", "where did I [put|leave|hide|keep] [the|my] {item}?", "in what place is [the|my] {item}?"), "The {item} is {}.", "where"),
    Wording(("my {event} is [on |]{}", "[I have|they gave me|we planned] the {event} on {}", "{} is the day of my {event}"),
            ("when is my {event}?", "[which day|what date] is my {event}?", "on which day did I say the {event} is?"), "Your {event} is on {}.", "date"),
    Wording(("[for lunch|for dinner|in the evening|at noon|today] [I have|we have|I ate|there was] {}", "[my lunch|our dinner] [is|was] {}", "I ordered {} [for lunch|for dinner]"),
            ("what [do|did] [I|we] have [for lunch|for dinner|to eat]?", "[which dish|which meal] was it?", "what was [my lunch|our dinner]?"), "You have {}.", "dish"),
    Wording(("[the|my] {room} [has|needs|got] [a|one more] {}", "there [is|was] a {} in [the|my] {room}", "I put a {} in the {room}"),
            ("what is in [the|my] {room}?", "[what|which thing] did I [put|see|have] in the {room}?"), "In the {room} is a {}.", "object"),
)  # fmt: skip

BEFORE = ("", "", "", "", "", "well, ", "so ", "just so you know, ", "I should say that ", "I forgot to say: ", "one thing: ", "hi, ", "hello, ", "oh, ",
          "listen, ", "to begin with, ", "for your files: ", "you should know: ", "and ", "yes, ", "actually ", "maybe I should add: ", "please note: ")  # fmt: skip
AFTER = ("", "", "", "", "", "", ".", ".", "!", ", if that helps", ", you see", ", I think I said so", " these days", ", just in case", ", please remember that", ", by the way", " :)", ", as always", ", that is all")  # fmt: skip
ASKING = ("", "", "", "", "", "", "do you remember: ", "tell me, ", "and ", "so, ", "one more thing, ", "quick question: ", "remind me: ", "just to check, ", "I forgot: ", "sorry, ",
          "let me test you: ", "hm, ", "by the way, ", "now tell me: ")  # fmt: skip
GREETED = (
    "[Hi|Hello|Hey|Good morning|Good day|Good afternoon][,| there,| everybody,|!] [I am|I'm|my name is|this is|it's|it is] {}[|.|!|, I have a question|, can you help me?|, a new customer|, nice to meet you|. How are you?|, may I ask something?]",
    "[Hi|Hello|Hey|Good morning|Good day|Good afternoon], {} [speaking|writing|again|calling|with a question]",
    "{} [here|speaking|writing][|, hello|, hi|, good morning|, hi there|, good day to you]",
    "[Nice to meet you|Pleased to meet you|Greetings|Hi bot|Dear team], [I am|I'm|my name is|they call me] {}[|.|!]",
)  # fmt: skip
"""Greetings that tell the user's name, which are still greetings."""
USER_NAMED = (
    "[The name of the user|The user's name|The customer's name|The learner's name|The guest's name|The name of the person who writes] is {}.",
    "[The user|The customer|The guest|The learner|The person who writes] is [called|named] {}.",
    "You are [talking|speaking|writing] [to|with] {}.", "[User|Customer|Guest|Name of the user|Name of the customer]: {}.",
)  # fmt: skip
"""How a system prompt states what was kept of the user."""
HEARD = (
    "I see.", "Good to know.", "Thanks for telling me.", "Noted.", "All right.", "Wonderful!", "I will keep that in mind.", "Interesting.", "Okay!", "Great.",
    "Got it.", "I have written it down.", "Sounds good.", "Very good.", "Fine, how can I help?", "Understood.", "Oh, lovely.", "Thank you.", "That is good to hear.",
    "What can I do for you?", "Well, well.", "Really?", "I like that.", "Good.", "Sure.", "That makes sense.", "Excellent!", "Alright, go on.", "Tell me more.", "I am glad.",
    "Fine.", "Oh!", "Right.", "Yes.", "A pleasure.", "Good choice.", "You are welcome here.", "Happy to hear it.", "Then let us begin.", "Thanks!",
)  # fmt: skip
"""Replies to what a user tells that do not repeat it."""

DRAWN: dict[str, tuple[str, ...]] = {
    "role": ("cook", "gardener", "doctor on duty", "accountant", "driver", "cleaner", "teacher", "coach", "nurse", "librarian", "caretaker", "deputy", "treasurer", "mechanic",
             "photographer", "trainer", "baker", "editor", "captain", "pianist", "guard", "landlord", "sponsor"),
    "room": ("toilet", "canteen", "lift", "cash desk", "exit", "kitchen", "office", "library", "cloakroom", "waiting room", "car park", "garden", "printer", "first aid box",
             "meeting room", "bar", "ticket machine", "bus stop", "playground", "stage", "lost property", "cellar"),
    "secret": ("wifi password", "door code", "customer number", "voucher code", "room number", "account number", "bank code", "tax number", "member number", "case number",
               "booking code", "PIN", "licence plate", "seat number", "table number", "ticket number", "contract number"),
    "event": ("concert", "sale", "tour", "course", "meeting", "exam", "lesson", "party", "delivery", "market", "lecture", "workshop", "inspection", "match", "reading",
              "competition", "opening", "holiday", "interview", "check-up"),
    "relation": ("dog", "cat", "sister", "brother", "wife", "husband", "daughter", "son", "boss", "neighbour", "doctor", "teacher", "friend", "horse", "cousin", "aunt", "uncle",
                 "grandmother", "colleague", "landlord", "boat", "parrot"),
    "kind": ("fruit", "vegetable", "flower", "bread", "gem"),
    "where": ("behind the building", "next to the entrance", "on the first floor", "on the third floor", "at the front desk", "opposite the station", "in the basement", "across the street",
              "beside the lift", "in the main hall", "at the back of the shop", "under the stairs", "on the left", "on the right", "at the end of the corridor", "upstairs", "outside",
              "on the roof", "through the blue door", "past the fountain", "between the two towers", "in the yard"),
}  # fmt: skip
DEEDS = (("buy", "bought"), ("lose", "lost"), ("find", "found"), ("break", "broke"), ("forget", "forgot"), ("sell", "sold"), ("repair", "repaired"), ("borrow", "borrowed"),
         ("paint", "painted"), ("order", "ordered"), ("return", "returned"), ("wash", "washed"), ("need", "needed"), ("hide", "hid"), ("inherit", "inherited"))  # fmt: skip


def value(r: Random, world: World, kind: str) -> str:
    """Return a value of a kind, drawn at random."""
    lists = world.lists
    if kind == "where":
        return r.choice(DRAWN["where"])
    if kind == "name":
        first, last = r.choice(lists["first_names"]), r.choice(lists["last_names"])
        return r.choice(
            (first, first, f"{first} {last}", f"{r.choice(('Mrs', 'Mr', 'Dr', 'Ms'))} {last}")
        )
    if kind == "first":
        return r.choice(lists["first_names"])
    if kind == "city":
        return r.choice(lists["cities"])
    if kind == "job":
        job = r.choice(lists["jobs"])
        return f"{'an' if job[0] in 'aeiou' else 'a'} {job}"
    if kind == "code":
        letters = "".join(r.choice("ABCDEFGHKLMNPRSTUXYZ") for _ in range(r.randint(1, 3)))
        return r.choice(
            (
                str(r.randint(10, 99_999_999)),
                f"{letters}-{r.randint(10, 99999)}",
                f"{r.choice(world.words)}{r.randint(1, 99)}",
                r.choice(world.words),
                f"{r.randint(10, 999)}-{r.randint(100, 9999)}",
                f"{letters}{r.randint(1, 999)}",
            )
        )
    if kind == "date":
        month, n = r.choice(MONTHS), r.randint(1, 30)
        return r.choice(
            (
                f"{n} {month}",
                f"{month} {n}",
                r.choice(DAYS),
                f"{r.choice(DAYS)}, {n} {month}",
                f"{n}.{r.randint(1, 12)}.20{r.randint(20, 39)}",
                f"{r.choice(DAYS)} at {r.randint(1, 12)} {r.choice(('am', 'pm'))}",
                f"the {r.randint(4, 20)}th of {month}",
            )
        )
    if kind == "price":
        cents = f"{r.randint(1, 60)}.{r.randint(10, 99)}"
        amount = r.choice((str(r.randint(2, 99)), str(r.randint(100, 3000)), cents))
        return f"{amount} {r.choice(CURRENCIES)}"
    if kind == "year":
        return str(r.randint(1930, 2035))
    if kind == "count":
        return r.choice(
            (
                str(r.randint(2, 400)),
                r.choice(("three", "four", "six", "nine", "twelve", "twenty", "forty")),
            )
        )
    source = {"color": "colors", "country": "countries", "instrument": "instruments", "sport": "sports", "object": "objects", "animal": "animals", "fruit": "fruits", "dish": "dishes",
              "vegetable": "vegetables", "flower": "flowers", "bread": "breads", "gem": "gems"}[kind]  # fmt: skip
    found = r.choice(lists[source])
    return found if kind == "country" else found.lower()


def drawn(r: Random, world: World, wording: Wording) -> Wording:
    """Return a wording with its thing drawn: {role}, {item} and the like are filled."""
    do, did = r.choice(DEEDS)
    fill = {
        "do": do,
        "did": did,
        "item": r.choice([o for o in world.lists["objects"] if o.count(" ") < 2]).lower(),
    }
    fill |= {name: r.choice(found) for name, found in DRAWN.items()}

    def filled(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda m: fill[m[1]], text)

    return Wording(
        tuple(map(filled, wording.said)),
        tuple(map(filled, wording.asked)),
        filled(wording.reply),
        filled(wording.values),
    )


def sentence(r: Random, world: World) -> str:
    """Return a reply form with one {}: a written sentence cut open anywhere, or loose words."""
    if r.random() < 0.25:
        start = [r.choice(world.words) for _ in range(r.randint(0, 5))]
        end = [r.choice(world.words) for _ in range(r.randint(0, 6))]
        for part in (start, end):
            for i in range(len(part)):
                part[i] += r.choice(("", "", "", "", ",", ":"))
        return " ".join([*start, "{}", *end]).replace(
            "{} ", r.choice(("{} ", "{} ", "{}, ", "{}: "))
        ) + r.choice((".", "!", "?", ""))
    words = r.choice(world.note_answers if r.random() < 0.6 else world.sayings).split()
    if len(words) > 9:
        at = r.randrange(len(words) - 8)
        words = words[at : at + r.randint(4, 9)]
    at = r.randint(0, len(words))
    cut = r.choice((0, 0, 1, 1, 2)) if len(words) > 4 else 0
    text = " ".join([*words[:at], "{}", *words[at + cut :]])
    return text[:1].upper() + text[1:]


def echoing(r: Random, pattern: str, said: str) -> str:
    """Return a reply form that runs beside its first {} as the user's sentence does, or nearly.

    What stands before and after a detail must be read where the reply's form is shown, not in the
    message.
    """
    before, _, after = said.partition("{}")
    near = r.random()
    if before.split() and near < 0.6:
        pattern = pattern.replace("{}", before.split()[-1].strip(".,?!:") + " {}", 1)
    if after.split() and near > 0.3:
        word = after.split()[0].rstrip(".,?!") + r.choice(("", "", "s", "ed", "ing"))
        pattern = pattern.replace("{}", "{} " + word, 1)
    return pattern


def telling(r: Random, world: World) -> str:
    """Return a user's sentence with one {}: one that was written, cut open anywhere."""
    words = world.texts[r.choice(world.questions)].split()
    if len(words) > 8:
        at = r.randrange(len(words) - 7)
        words = words[at : at + r.randint(2, 8)]
    at = r.randint(0, len(words))
    return " ".join([*words[:at], "{}", *words[at + r.choice((0, 1)) :]])


END_RULES = (
    "[End|Finish|Close|Conclude|Round off] [each|every] [reply|answer|message|text] with [|the words |the sentence |the phrase ]{}",
    '[Each|Every] [of your answers|one of your replies|message you write] [ends|finishes|closes|concludes] with "{}"',
    '[Always|Without exception|Whatever is asked,] [add|append|write|say] "{}" [at the end|last|after your answer|as the last sentence]',
    '[The last|The final|The closing] [words|sentence|line] of [an answer|each message|whatever you write] [must be|has to be|is always] "{}"',
    "[After|Following] [each|every] [answer|reply] comes [|this: |the line ]{}",
    'Do not forget to [end|close|finish] with "{}"', 'Your [signature|farewell|closing line|last line] is "{}"', "[Closing words|Ending|Signature|Last line]: {}",
)  # fmt: skip
ONE_WORD = (
    "[Answer|Reply|Respond] [with|in|using] [one|a single|exactly one] word[| only|, nothing else|, always].",
    "[Your answers|Your replies|All answers] [are|have to be|must be|should be] [one word|a single word|one word long].",
    "[Keep to|Use|Give|Write|Allow yourself] [one word|a single word] [per answer|each time|and nothing more|for an answer].",
    "[One word|A single word] [is enough|will do|is all we want|suffices].",
)  # fmt: skip
HELPING = (
    "You [help|serve|answer|advise|assist] [people|customers|guests|callers|clients] [in|at|of] a {}.", "This is [the chat|the desk|the hotline|the page] of a {}.",
    "[People|Customers|Guests] of a {} [write to you|ask you things|talk to you].", "You [sit|work|stand] in a {}.", "The [bot|assistant|helper] of a {}.",
)  # fmt: skip
"""Openings that name a kind of business and no name."""


def told_wording(r: Random, pattern: str, opening: str = "") -> str:
    """Return how a user may type a statement: after an opening or not, with a capital or not."""
    fixed = pattern.startswith(("I ", "I'", "{}"))
    if opening:
        text = opening + (pattern if fixed else pattern[:1].lower() + pattern[1:])
        return text[:1].upper() + text[1:] if r.random() < 0.6 else text
    return pattern if fixed or r.random() < 0.6 else pattern[:1].lower() + pattern[1:]
