# ruff: noqa: E501 - sentences in tables read best on one line
"""The phrasings behind the made-up businesses: kinds, topics, questions, answers, fallbacks.

All of it was written for this recipe. A topic (`topics.txt`) lists what customers ask ("?") and
what a note may answer ("!"); `{slots}` are filled at random. A topic with a slot in its questions
is a family: several notes of it stand side by side and differ only in the slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kind:
    """A kind of business."""

    items: tuple[str, ...]
    groups: frozenset[str]
    """Groups of topics that make sense for it."""


@dataclass(frozen=True)
class Topic:
    """Something that customers ask."""

    name: str
    group: str
    """"" for every kind of business."""
    questions: tuple[str, ...]
    answers: tuple[str, ...]

    @property
    def family(self) -> bool:
        """Whether several notes of this topic can stand side by side."""
        return any("{" in q for q in self.questions)


_KINDS = """
bakery: shop food | rye bread, croissant, birthday cake, apple tart, cinnamon roll, baguette, bagel
bookshop: shop goods | notebook, atlas, cookbook, picture book, gift card, audio book, calendar
bicycle shop: shop goods repair | city bike, helmet, child seat, bike lock, e-bike, pump, tyre
furniture store: shop goods online | sofa, desk, wardrobe, bookshelf, bed frame, lamp, kitchen table
clothes shop: shop goods online | winter coat, pair of jeans, raincoat, dress, wool hat, suit, scarf
shoe shop: shop goods online repair | pair of boots, sandal, running shoe, shoe cream, slipper
electronics shop: shop goods online repair | laptop, headphone, charger, tablet, printer, camera
garden centre: shop goods | rose bush, lawn mower, flower pot, apple tree, hedge trimmer, watering can
pharmacy: shop goods health | cough syrup, plaster, sun cream, thermometer, vitamin pack, face mask
optician: shop goods health repair | pair of glasses, contact lens, sunglasses case, eye test
online shop: goods online | backpack, phone case, coffee machine, blender, rug, mirror, tent
wine shop: shop goods online | bottle of red wine, gift box, corkscrew, tasting ticket, glass set
doctor's practice: health desk | check-up, flu shot, blood test, prescription, travel vaccine, X-ray
dental practice: health desk | cleaning, filling, check-up, crown, whitening, brace
animal clinic: health desk | vaccination, microchip, dental care, check-up, X-ray, operation
physiotherapy practice: health desk lessons | massage, back course, knee training, first session
language school: lessons desk | Spanish course, evening class, exam, placement test, summer course
primary school: desk lessons | school lunch, swimming lesson, choir, chess club, school trip
music school: lessons desk | piano lesson, guitar lesson, violin, drum course, singing lesson
driving school: lessons desk | driving lesson, theory course, night drive, motorway lesson, exam
university office: desk lessons | transcript, student card, semester ticket, parking permit, diploma
dance studio: lessons desk | salsa class, ballet class, trial lesson, ten-class card, hip hop class
museum: venue desk | audio guide, family ticket, guided tour, year pass, catalogue, workshop
theatre: venue desk | balcony seat, programme, season ticket, student ticket, matinee ticket
cinema: venue food | popcorn, 3D ticket, kids ticket, love seat, gift card, nachos
zoo: venue food | day ticket, feeding tour, pony ride, year pass, wagon, night walk
swimming pool: venue lessons | day ticket, sauna, swim course, locker, towel, ten-visit card
gym: venue lessons | day pass, yoga class, personal training, towel, locker, protein shake
hotel by the sea: stay food desk | single room, double room, suite, breakfast, sauna, boat trip
hostel: stay food | bed in a dorm, private room, towel, bike rental, breakfast, locker
restaurant: food venue | lunch menu, fish soup, vegan burger, kids menu, dessert, tasting menu
coffee house: food shop | flat white, cheesecake, cold brew, sandwich, hot chocolate, iced tea
pizza delivery: food online | large pizza, salad, tiramisu, garlic bread, pasta box, cola
savings bank: money desk | current account, credit card, savings plan, mortgage, safe box, transfer
insurance office: money desk | car insurance, travel insurance, home insurance, dental plan
phone company: money online tech | SIM card, data plan, family plan, roaming pass, new phone
internet provider: money tech online | router, fibre line, TV box, static address, repeater
energy supplier: money desk | meter, green tariff, gas contract, heat pump, night tariff
airline: travel desk online | extra bag, window seat, meal, pet ticket, upgrade, lounge pass
car rental: travel desk money | small car, van, child seat, snow chain, GPS, second driver
travel agency: travel desk | city trip, cruise, round trip, rail pass, visa service
bus company: travel desk | day ticket, night bus, month pass, bike ticket, group ticket
parcel service: online desk | small parcel, express letter, large parcel, registered letter
software company: tech online money | team plan, licence, backup, add-on, training, free trial
game studio: tech online | season pass, skin pack, coin pack, expansion, starter pack
hair salon: desk health | haircut, colour, beard trim, perm, bridal style, kids cut
repair shop: repair shop | screen repair, battery change, water damage check, key copy, zip repair
moving company: desk online | small move, piano move, storage box, packing service, lift
town hall: desk | passport, parking permit, birth certificate, dog licence, ID card, fishing licence
photo studio: desk shop | passport photo, family portrait, photo book, poster, wedding album
butcher's shop: shop food | sausage, steak, roast chicken, ham, meat pie, barbecue box
cheese shop: shop food online | goat cheese, cheese plate, blue cheese, fondue set, butter, olive jar
fish market stall: shop food | salmon, herring roll, crab, fish cake, smoked eel, shrimp box
ice cream parlour: food shop | scoop, sundae, waffle, milk shake, ice cream cake, sorbet
tea house: food shop | pot of green tea, scone, tea set, rice cake, iced tea, tasting hour
noodle bar: food online | noodle soup, dumpling, spring roll, fried rice, mango drink, lunch box
food truck: food | taco, burrito, falafel wrap, lemonade, veggie bowl, corn cob
brewery: food venue shop | brewery tour, beer crate, tasting glass, pretzel, keg, brewing course
chocolate maker: shop food online | box of pralines, chocolate bar, truffle, hot chocolate, tasting course
farm shop: shop food | egg box, potato sack, apple juice, honey, vegetable crate, pumpkin
supermarket: shop food goods | milk carton, cereal box, frozen pizza, shopping bag, razor, detergent
flower shop: shop goods online | bunch of roses, wreath, orchid, bridal bouquet, vase, potted plant
jeweller: shop goods repair | ring, necklace, watch, earring, bracelet, engraving
stationery shop: shop goods | fountain pen, notebook, wrapping paper, envelope, stamp, school bag
music store: shop goods repair | guitar, drum kit, violin string, keyboard, music stand, microphone
hardware store: shop goods | drill, ladder, paint bucket, hammer, shower head, bag of screws
pet shop: shop goods online | dog lead, cat food, hamster cage, bird seed, fish tank, scratching post
sports shop: shop goods repair online | tennis racket, ski, football, swimsuit, yoga mat, hiking boot
antique shop: shop goods repair | old clock, chest, oil lamp, mirror, silver spoon, painting
second-hand shop: shop goods | jacket, record, armchair, dinner set, pram, handbag
carpet shop: shop goods online | rug, runner, doormat, stair carpet, cork floor, cleaning kit
kitchen studio: shop goods desk | oven, fridge, worktop, sink, dishwasher, planning talk
bedding store: shop goods online | mattress, pillow, duvet, bed sheet, topper, slatted frame
comic shop: shop goods online | comic, figure, card pack, poster, manga, dice set
tailor: repair shop | suit, trouser hem, wedding dress, curtain, zip, button
watchmaker: repair shop goods | wrist watch, strap, battery, wall clock, glass, pocket watch
car workshop: repair desk | oil change, brake check, tyre change, inspection, new battery, paint job
piano workshop: repair desk | tuning, key repair, new strings, upright piano, restoration, transport
beauty salon: desk health | manicure, facial, massage, waxing, eyebrow shaping, pedicure
tattoo studio: desk | small tattoo, piercing, cover-up, touch-up, design talk, ear ring
spa: venue health stay | mud bath, massage, sauna pass, steam bath, bathrobe, day package
hearing aid shop: health shop repair | hearing test, hearing aid, ear plug, battery pack, ear mould, check-up
hospital: health desk food | X-ray, single room, blood test, visitor pass, check-up, operation
guest house in the hills: stay food | double room, attic room, packed lunch, sledge, sauna, ski pass
holiday flat agency: stay travel online | flat for four, bed linen, cot, final cleaning, parking place, boat
mountain hut: stay food | bunk bed, soup, hut sleeping bag, hot shower, packed lunch, map
ferry company: travel desk food | car ticket, cabin, foot passenger ticket, bike ticket, window seat, dinner buffet
railway company: travel desk online | return ticket, seat reservation, sleeper berth, rail card, bike ticket, first class
taxi company: travel money | airport ride, large taxi, child seat, night ride, city tour, courier ride
ski resort: venue travel lessons | day pass, ski lesson, sledge, helmet, season pass, night skiing
theme park: venue food | day ticket, fast pass, roller coaster photo, locker, family ticket, pony ride
bowling alley: venue food | lane, pair of shoes, pitcher of cola, nachos, league night, ten-game card
climbing hall: venue lessons | day ticket, harness, chalk bag, beginners' course, shoe rental, month pass
concert hall: venue desk | stalls seat, box seat, season ticket, programme, standing place, student ticket
cooking school: lessons food | pasta course, sushi evening, apron, knife course, bread course, cookbook
riding school: lessons venue | riding lesson, pony ride, helmet, trail ride, riding camp, stable tour
art school: lessons venue | drawing course, clay class, easel, life drawing, summer workshop, paint set
computer school: lessons tech | typing course, spreadsheet course, coding class, exam, senior course, laptop hour
nursery school: lessons desk | half-day place, full-day place, lunch, forest day, music hour, spare clothes set
web hosting firm: tech online money | domain, mail box, server, backup, web shop, certificate
estate agent: desk money | flat viewing, valuation, two-room flat, house, garage, rental contract
tax adviser: desk money | tax return, first talk, payroll, annual report, audit, company form
law firm: desk money | first talk, contract check, will, divorce, company contract, letter
"""
_HELD_KINDS = """
library: venue desk lessons | reading card, e-book, study room, printer page, DVD, story hour
aquarium: venue food | shark tour, year pass, family ticket, touch pool slot, plush seal
camp site: stay food | tent pitch, caravan pitch, hot shower, canoe, firewood bundle, cabin
laundry: repair shop | shirt, duvet, curtain, wedding dress, leather jacket, carpet
toy shop: shop goods online | puzzle, train set, doll house, kite, board game, teddy bear
"""


def _kinds(block: str) -> dict[str, Kind]:
    result = {}
    for line in block.strip().splitlines():
        name, rest = line.split(":", 1)
        groups, items = rest.split("|")
        result[name] = Kind(tuple(i.strip() for i in items.split(",")), frozenset(groups.split()))
    return result


def _topics(file: str) -> tuple[Topic, ...]:
    result = []
    for part in Path(__file__).with_name(file).read_text(encoding="utf-8").strip().split("# ")[1:]:
        head, *lines = part.strip().splitlines()
        name, _, group = head.partition(" ")
        asks = tuple(x[2:] for x in lines if x.startswith("? "))
        says = tuple(x[2:] for x in lines if x.startswith("! "))
        slots = any("{" in q for q in asks)
        # In a family a question without its slot would fit every member.
        if slots:
            asks = tuple(q for q in asks if "{" in q)
        result.append(Topic(name, group, asks, says))
    return tuple(result)


BUSINESSES = _kinds(_KINDS)
HELD_BUSINESSES = _kinds(_HELD_KINDS)
TOPICS = _topics("topics.txt")
HELD_TOPICS = _topics("topics_held.txt")
"""Never trained on: the model is measured by them."""

FALLBACK_PARTS: dict[str, tuple[str, ...]] = {
    "alone": (
        "Sorry, I do not know that.",
        "I am not sure about that, let me ask a colleague.",
        "I can't help with that, sorry.",
        "I don't have that information yet.",
        "Please contact our office about this.",
        "Let me check with the team.",
        "That is not something I can answer.",
        "Unfortunately I have no answer to that.",
        "I will pass your question on.",
        "Please call {phone} for that.".replace(" {phone}", " our hotline"),
        "No idea, sorry!",
        "My notes do not say.",
        "You would have to ask a human.",
        "I cannot find that.",
        "Good question, but I do not know.",
        "This is beyond me.",
        "I must leave that to my colleagues.",
        "Let me find out and get back to you.",
        "One moment, I am connecting you.",
        "That one I cannot answer.",
    ),
    "first": (
        "I do not know that",
        "I am not sure",
        "that is not in my notes",
        "I have nothing on that",
        "I cannot answer this",
        "my notes say nothing about it",
        "nobody has told me that yet",
        "I was not told about this",
        "there is no answer to that here",
        "this is a question for our team",
        "I have no information about it",
        "sorry, I don't have an answer",
        "unfortunately I can't say",
        "this I don't know",
        "I would only be guessing",
        "that is outside my work",
    ),
    "second": (
        "a colleague will help you",
        "please ask at the desk",
        "please call us",
        "I will ask and come back to you",
        "please write us an email",
        "let us ask the manager",
        "somebody from the team will call you",
        "please try the website",
        "ask me something else",
        "I have passed it on",
        "we will find out together",
        "the office can tell you more",
        "please call {phone}",
        "I am calling a colleague",
        "maybe a human knows",
        "you can reach my colleagues at {phone}",
        "do ask again tomorrow",
    ),
}
