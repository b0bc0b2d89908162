# ruff: noqa: E501 - sentences in tables read best on one line
"""The phrasings behind the made-up businesses: kinds, topics, questions, answers, fallbacks.

All of it was written for this recipe. A topic lists what customers ask ("?") and what a note may
answer ("!"); `{slots}` are filled at random. A topic with a slot in its questions is a family:
several notes of it stand side by side and differ only in the slots.
"""

from __future__ import annotations

from dataclasses import dataclass


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
"""
_HELD_KINDS = """
library: venue desk lessons | reading card, e-book, study room, printer page, DVD, story hour
aquarium: venue food | shark tour, year pass, family ticket, touch pool slot, plush seal
camp site: stay food | tent pitch, caravan pitch, hot shower, canoe, firewood bundle, cabin
laundry: repair shop | shirt, duvet, curtain, wedding dress, leather jacket, carpet
toy shop: shop goods online | puzzle, train set, doll house, kite, board game, teddy bear
"""
_TOPICS = """
# price
? How much is a {item}?
? What does a {item} cost?
? What is the price of a {item}?
? Tell me the price for a {item}
? How expensive is a {item}?
? What do I pay for a {item}?
? {item} price?
? What would a {item} cost me?
! A {item} costs {price}.
! You pay {price} for a {item}.
! The price of a {item} is {price}, or {price2} for members.
! We charge {price} for a {item}.
! A {item} is {price} during the week and {price2} at the weekend.
# hours_day
? When are you open on {day}?
? What are your opening hours on {day}s?
? Are you open on {day}?
? Until when are you open on {day}?
? What time do you close on {day}?
? Can I come on a {day}?
! On {day} we are open from {time} to {time2}.
! On {day}s we open at {time} and close at {time2}.
! Our doors are open on {day} from {time} until {time2}.
! {day}s we are closed.
! On {day} only from {time} to {time2}.
# hours
? When are you open?
? What are your opening hours?
? What time do you open and close?
? How late are you open?
? Are you open right now?
? When can I come by?
! We are open {hours}.
! Our opening hours are {hours}.
! You find us here {hours}. On public holidays we are closed.
# holidays
? Are you open on public holidays?
? Do you close over Christmas?
? Are you open at Easter?
? What about holidays?
? Do you work on New Year's Day?
! We are closed on all public holidays.
! On public holidays we are open from {time} to {time2}.
! We close from 24 December and open again on {n} January.
! Yes, every day of the year except 1 January.
# address
? Where are you?
? What is your address?
? How do I find you?
? Which street are you in?
? Where can I find your place?
? Where exactly are you located?
! We are at {address} in {city}.
! You find us at {address}, {city}, {where}.
! Our address is {address}, {city}.
# transport
? How do I get to you by bus?
? Can I reach you by public transport?
? Which tram goes to you?
? Is there a bus stop near you?
? How do I get there without a car?
! Take bus {n} to {street}.
! Tram {n2} stops in front of our door.
! From the station take line {n} in the direction of {place} and get off at {street}.
! The stop {street} is {number} minutes away on foot.
# parking
? Where can I park?
? Do you have parking?
? Is there a car park?
? Is parking free?
? Can I leave my car at your place?
? Are there parking spaces for customers?
! You can park {where}. The first {number} hours are free.
! There are {n} parking spaces {where}.
! We have no parking of our own. The car park in {street} costs {price} a day.
! Parking costs {price} an hour.
# email
? What is your email address?
? Where can I write to you?
? How can I contact you by mail?
? Can I send you an email?
? Which address do I write to?
! Write to {email}. We answer within {wait}.
! Our address is {email}.
! Send your question to {email} and we reply in {wait}.
# phone
? What is your phone number?
? How can I call you?
? Can I speak to someone on the phone?
? Which number do I ring?
? I want to talk to a person
? Do you have a hotline?
! Call {phone}.
! Our number is {phone}, from {time} to {time2}.
! You reach us by phone at {phone}.
! Ring {phone} and ask for {person}.
# boss
? Who is in charge?
? Who is the manager?
? What is the name of your boss?
? Who runs this place?
? Who owns the business?
! Our manager is {person} {surname}.
! {person} {surname} runs the house since {n} years.
! The owner is {person} {surname}.
# department
? Who is responsible for {word} questions?
? Who do I ask about {word} things?
? Who handles the {word} cases?
? Is there someone for {word} matters?
! {person} {surname} on the {floor} takes care of {word} questions.
! For {word} matters ask {person} {surname}, {phone2}.
! Please turn to {person} in room {n}.
# complaint
? I want to complain
? How do I make a complaint?
? I am not happy with you
? Where do I send a complaint?
? I was treated badly
! We are sorry. Write to {email} and {person} will call you back within {wait}.
! Please tell {person} {surname} at {phone2}. We take every complaint seriously.
! We are sorry to hear that. Fill in the form {where}.
# pay_how
? How can I pay?
? Which payment methods do you accept?
? Do you take credit cards?
? Can I pay by card?
? Do you take cash?
? Is it possible to pay with my phone?
! You can pay cash, by card or with your phone.
! We take cards only, no cash.
! Cash and cards are fine. Cheques are not.
! We accept cards from {n} {currency} on.
# instalments
? Can I pay in instalments?
? Is it possible to pay bit by bit?
? Do you offer monthly payments?
? Can I pay later?
! From {price} on you can pay in {number} parts.
! Yes, in up to {n2} months. The first payment is due at once.
! No, the whole amount is due at the start.
# invoice
? Can I get a receipt?
? How do I get an invoice?
? I need a bill for my company
? Could you send me the invoice again?
? Where is my invoice?
! We send the invoice by email within {wait}.
! Ask at the desk, {person} prints it for you.
! You find all invoices in your account under {word} papers.
# discount_student
? Is there a student discount?
? Do students pay less?
? I am a student, is it cheaper for me?
? Do you have student prices?
! Students pay {percent} percent less.
! With a student card you save {price}.
! There is no student price, but on {day}s all pay {percent} percent less.
# discount_group
? Do groups get a discount?
? Is it cheaper for a group?
? We are a group of ten, what do we pay?
? Do you have prices for groups?
! From {n2} people on, each pays {price}.
! Groups of {n} or more get {percent} percent off.
# kids
? Can I bring my children?
? Are kids allowed?
? Is there something for children?
? Is it suitable for small children?
? What do children pay?
! Children under {n2} are free.
! Children are welcome. There is a play corner {where}.
! Children from {number} years on may come with a grown-up.
! Children pay {price}.
# pets
? Are dogs allowed?
? Can I bring my dog?
? Do you allow pets?
? May my cat come too?
? What about animals?
! Dogs are welcome if they stay on a lead.
! Sorry, no pets. Guide dogs are welcome.
! Small dogs may come in for {price}.
# pet_kind
? May I bring my {animal}?
? Is a {animal} allowed?
? What about a {animal}?
? Do you let in a {animal}?
! A {animal} may come in on {day}s only.
! A {animal} has to stay {where}.
! We are sorry, a {animal} is not allowed.
! A {animal} costs {price} extra.
# wheelchair
? Is there access for wheelchairs?
? Can I come with a wheelchair?
? Do you have a lift?
? Are there steps?
? Is the building barrier-free?
! There is a ramp {where}.
! Yes, the lift is {where}.
! Sadly there are {n2} steps. Call {phone2} and {person} helps you.
# toilets
? Where are the toilets?
? Is there a restroom?
? Do you have a bathroom for customers?
? Where is the loo?
! The toilets are {where}.
! On the {floor}, {where}.
! The key is {where}.
# wifi
? Do you have WiFi?
? What is the WiFi password?
? Is there internet for guests?
? How do I get online here?
? Can I use your wireless network?
! The WiFi is free. The password is {word}{n}.
! Guests use the network {word}-guest without a password.
! WiFi costs {price} a day.
# lost
? I left something at your place
? I lost my bag, did you find it?
? Where is your lost property office?
? Has anybody found my umbrella?
? I forgot my jacket there
! Lost things wait {where} for {weeks}.
! Ask {person} at the lost property desk, {phone2}.
! We keep lost things for {weeks} and then give them away.
# job
? Do you have any jobs?
? Can I work for you?
? Are you hiring?
? How do I apply for a job?
? I am looking for work
! Send your letter to {email}, to the hand of {person} {surname}.
! We look for people on {day}s. Talk to {person}.
! At the moment we have {number} open jobs. They are listed {where}.
# privacy
? What do you do with my data?
? Is my data safe with you?
? How long do you keep my data?
? Can you delete my data?
? Who sees my personal information?
! We keep your data for {weeks} and give it to nobody.
! Write to {email} and we delete everything within {wait}.
! Only {person} {surname} can see your data.
# newsletter
? How do I get your newsletter?
? I don't want your emails any more
? Can I unsubscribe from the mails?
? How do I subscribe to the newsletter?
! Tick the box in your account, or tell {person}.
! There is a link at the end of every email.
! The newsletter comes on the first {day} of each month.
# giftcard
? Do you sell gift cards?
? Can I buy a voucher?
? I need a present for a friend
? How long is a voucher valid?
? Where can I use my gift card?
! Gift cards start at {price} and are valid for {n2} years.
! You can buy vouchers {where} or online.
! Yes, ask for one at the desk. They never expire.
# loyalty
? Do you have a loyalty card?
? How do I collect points?
? What can I do with my points?
? Is there a bonus programme?
! You get one point for each {price}. {n} points are worth {price2}.
! After {n2} visits the next one is free.
! Points are valid for {weeks}.
# member
? How do I become a member?
? What does the membership cost?
? Can I join you?
? How do I sign up?
! Membership costs {price} a year. Fill in the form {where}.
! Sign up online; the card comes after {wait}.
! Bring a photo and {price} to the desk.
# quit
? How do I cancel my membership?
? I want to quit
? How do I end my contract?
? Can I leave any time?
? What is the notice period?
! You can cancel in writing with {weeks} notice.
! Write to {email} before the {n2}th of the month.
! Your contract ends after {weeks}; no letter is needed.
# age
? How old do I have to be?
? Is there a minimum age?
? From what age can one come?
? Do you check IDs?
! You must be at least {n2} years old.
! From {n2} years on, younger people with a parent.
! There is no minimum age.
# dresscode
? What should I wear?
? Is there a dress code?
? Do I need special clothes?
? Which shoes do I need?
! Wear {color} shoes and something warm.
! There is no dress code.
! Please come in {color} or {word} clothes.
# crowd
? When is it quiet at your place?
? What is the best time to come?
? When is there a queue?
? Is it very full at the moment?
! It is quiet on {day}s before {time}.
! {day} afternoon is the busiest time.
! The queue is shortest after {time}.
# founded
? How old is your company?
? Since when do you exist?
? When was the business founded?
? How long have you been around?
! We opened {n} years ago in {place}.
! {person} {surname} founded us in 19{n}.
# branch
? Do you have a branch in {place}?
? Is there a shop in {place}?
? Are you also in {place}?
? Where are you in {place}?
! In {place} you find us at {n} {street}.
! Our branch in {place} is {where}.
! The {place} branch opens on {day}, at {n} {street}.
! Our house in {place} has closed. Please come to {city}.
# language
? Do you speak other languages?
? Does anybody speak French?
? Can I talk to you in Spanish?
? Which languages do you speak?
! {person} speaks Spanish and French.
! We speak English and a little German.
! On {day}s somebody is here who speaks Chinese.
# photo
? May I take photos?
? Is photography allowed?
? Can I film inside?
? Am I allowed to take pictures?
! Photos are fine, but without flash.
! Please ask {person} before you take pictures.
! No photos, please. Postcards are sold {where}.
# smoking
? Can I smoke here?
? Is there a place for smokers?
? Where is smoking allowed?
? Do you have a smoking area?
! Smoking is allowed {where} only.
! No, the whole house is smoke-free.
# return goods
? Can I return something?
? How do I send an article back?
? I want my money back
? What is your return policy?
? I don't like what I bought
? It does not fit, can I give it back?
! You can return everything within {weeks} with the receipt.
! Bring it back within {weeks} and you get your money back.
! We take back unused goods for {weeks}. Opened packs we do not take back.
# return_item goods
? Can I return a {item}?
? How long can I give back a {item}?
? My {item} is wrong, can I bring it back?
? Do you take back a {item}?
! A {item} can be returned within {weeks}.
! You can bring back a {item} for {weeks}, but only in its box.
! A {item} cannot be returned.
! For a {item} you get a voucher of the same value.
# exchange goods
? Can I exchange it for another size?
? I need a different colour
? How do I swap an article?
? Can I change it for something else?
! We exchange everything for {weeks}, {where}.
! Exchanges are free on {day}s.
! Send it back with a note and the new one comes after {wait}.
# warranty goods
? How long is the warranty?
? Is there a guarantee on a {item}?
? My {item} is broken, what now?
? What does the guarantee of a {item} cover?
! A {item} has a guarantee of {number} years.
! For a {item} the guarantee is {weeks}; keep the receipt.
! If a {item} breaks within {weeks}, you get a new one.
# stock goods
? Do you have a {item} in stock?
? Is a {item} available?
? When do you get a {item} again?
? Do you sell a {item}?
! We get a {item} again on {day}.
! A {item} is in stock, {where}.
! We have {n} of them. Ask {person}.
! A {item} has to be ordered and arrives after {wait}.
# color_item goods
? Which colours does the {item} come in?
? Is there a {item} in another colour?
? What colours do you have for the {item}?
! The {item} comes in {color} only.
! We have the {item} in {color}, black and white.
! The {item} is sold in {color}; other colours cost {price} more.
# delivery_time online
? How long does delivery take?
? When will my order arrive?
? When does my parcel come?
? How many days until I get it?
? What is the delivery time?
! Delivery takes {wait}.
! Your order arrives after {wait}.
! Orders before {time} leave the house on the same day and take {wait}.
# delivery_cost online
? What does delivery cost?
? How much is shipping?
? Is shipping free?
? Are there delivery fees?
! Delivery costs {price}. Above {price2} it is free.
! We deliver for {price} to your door.
! Shipping is free from {price} on.
# delivery_country online
? Do you deliver to {country}?
? How much is shipping to {country}?
? Can you send it to {country}?
? I live in {country}, can I order?
? How long does a parcel to {country} take?
! Shipping to {country} costs {price} and takes {wait}.
! A parcel to {country} takes {wait}.
! We deliver to {country} for {price}.
! We do not deliver to {country} yet.
# track online
? Where is my order?
? How can I track my parcel?
? My parcel has not arrived
? Can I see where my package is?
? What is the status of my order?
! The tracking number is in the email that we sent you.
! Log in and click on {word} orders to see where it is.
! Call {phone2} with your order number and {person} looks it up.
# cancel_order online
? Can I cancel my order?
? I ordered by mistake
? How do I stop an order?
? I changed my mind about my order
! You can cancel within {number} hours after ordering.
! As long as it has not left the house, call {phone2}.
! Click on cancel in your account until {time} on the same day.
# change_address online
? Can I change the delivery address?
? I have moved, where do I tell you?
? The address on my order is wrong
? How do I update my address?
! Change it in your account under {word} details before {time}.
! Write to {email} with the old and the new address.
! Once the parcel has left we cannot change the address.
# damaged online
? My parcel arrived broken
? The article is damaged
? What if something is broken when it comes?
? I got a broken one
! Send a photo to {email} and we send a new one within {wait}.
! We are sorry. Call {phone2} and you get {percent} percent back.
# wrong_item online
? I got the wrong article
? You sent me something else
? There is something missing in my parcel
? This is not what I ordered
! We are sorry. Keep it and tell {person} at {phone2}.
! Send it back for free with the label in the box.
! Write to {email}, and the right one comes after {wait}.
# password online
? I forgot my password
? I can't log in
? How do I reset my password?
? My account is locked
? The login does not work
! Click on forgotten password, and a link comes by email within {wait}.
! Call {phone2}; after {number} wrong tries the account is locked.
! Wait for {wait} and try again with your customer number.
# pickup online
? Can I pick up my order myself?
? Is it possible to collect it at your place?
? Do you offer pickup?
? Where do I collect my order?
! Pick it up {where} from {time} on.
! Yes, choose pickup. It is ready after {wait}.
# account_delete online
? How do I delete my account?
? I want to close my account
? Remove my account please
? How do I get rid of my account?
! Settings, then {word}, then delete. It takes {wait}.
! Write to {email} from the address of your account.
# book desk
? How do I make an appointment?
? Can I book a time?
? I would like to come by, do I need an appointment?
? When is the next free appointment?
? How do I get an appointment?
! Call {phone2} or book online. Mostly there is a place within {wait}.
! Appointments are given on {day}s from {time} on.
! Come without an appointment; the wait is {wait}.
# cancel_visit desk
? I have to cancel my appointment
? Can I move my appointment?
? I can't come tomorrow
? What happens if I miss my appointment?
? How do I change my booking?
! Please tell us {number} hours before, at {phone2}.
! Up to {n2} hours before it is free; later you pay {price}.
! Write to {email} and {person} finds a new time.
# bring desk
? What do I have to bring?
? Which papers do I need?
? Do I need my ID?
? What documents are required?
! Bring your ID, a photo and {price}.
! You need the {color} form and a passport.
! Only your {word} card. The rest we have.
# bring_item desk
? What do I need for a {item}?
? Which papers do I bring for a {item}?
? What is required for a {item}?
? What should I bring along for the {item}?
! For a {item} bring your ID and the {color} form.
! For a {item} we need {number} photos and your signature.
! For a {item} nothing is needed but your card.
# duration desk
? How long does a {item} take?
? How much time do I need for a {item}?
? Is a {item} quick?
? What time should I plan for a {item}?
! A {item} takes {wait}.
! For a {item} plan {n} minutes.
! A {item} is done in {n} minutes, on {day}s in {n2}.
# wait desk
? How long do I have to wait?
? Is there a long queue?
? How long is the waiting time?
? When is it my turn?
! The usual wait is {wait}.
! With an appointment {n2} minutes, without one up to {n} minutes.
# form desk
? Where do I find the form?
? Which form do I need?
? How do I fill in the form?
? Can I download the form?
! The form is {where}; {person} helps you with it.
! You need form {word} {n}. It is on our website.
# result health
? When do I get my results?
? Are my results there?
? How do I learn the result of my test?
? How long does the lab take?
! Results come after {wait}. Call {phone2} after {time}.
! {person} {surname} calls you within {wait}.
# emergency health
? It is an emergency, what do I do?
? Who helps at night?
? Where do I go outside opening hours?
? I need help right now
! In an emergency call {phone2}.
! At night go to the clinic at {n} {street}.
! Call {phone2} at once. It is answered day and night.
# insurance_pay health
? Does my insurance pay for it?
? Is it covered by insurance?
? Do I have to pay myself?
? Which insurance do you take?
! All public insurances pay. Private patients get a bill.
! You pay {price}; the rest is covered.
# newpatient health
? Do you take new patients?
? I am new here, can I come to you?
? How do I register as a new patient?
? Can I change to you?
! New patients come on {day}s from {time} on.
! At the moment we take no new patients until {n2} May.
! Yes. Fill in the {color} form {where}.
# lesson_start lessons
? When does the {item} start?
? What time is the {item}?
? On which day is the {item}?
? When is the next {item}?
! The {item} starts on {day} at {time}.
! {day} and {day2}, from {time} to {time2}.
! The next {item} is on {day}, {n2} May, at {time}.
# lesson_room lessons
? Where does the {item} take place?
? Which room is the {item} in?
? Where do I go for the {item}?
! The {item} is in room {n} on the {floor}.
! The {item} takes place {where}.
! Meet {person} {where}.
# teacher lessons
? Who teaches the {item}?
? Who is the teacher of the {item}?
? Who gives the {item}?
! {person} {surname} teaches the {item}.
! The {item} is given by {person} {surname} from {country}.
# level lessons
? Is it for beginners?
? Do I need experience?
? Which level do I need?
? I have never done this before, can I join?
! Beginners are welcome on {day}s.
! You need {n2} months of practice.
! A short test {where} shows your level.
# trial lessons
? Can I try it first?
? Is there a trial lesson?
? Is the first lesson free?
? May I have a look before I sign up?
! The first lesson is free.
! A trial costs {price}, which you get back if you stay.
# ill lessons
? I am ill, what do I do?
? My child is sick today
? What happens if I miss a lesson?
? Do I pay when I am absent?
! Tell {person} before {time} at {phone2}.
! You can make up for it on {day}.
! Missed lessons are not paid back.
# exam lessons
? When is the exam?
? How do I sign up for the exam?
? What happens if I fail?
? How hard is the test?
! The exam is on {day}, {n2} June, at {time}.
! You can take it again after {weeks} for {price}.
! Sign up with {person} until {n2} May.
# tickets venue
? Where do I buy tickets?
? Can I get tickets online?
? Do I need to book tickets in advance?
? Are there tickets at the door?
? Is it sold out?
! Tickets are sold {where} from {time} on.
! Online, {percent} percent cheaper than at the door.
! You can also buy them at the door, until {n} minutes before.
# refund_ticket venue
? Can I give back my ticket?
? Do I get my money back if I can't come?
? I can't use my ticket
? Is a ticket transferable?
! Tickets can be returned until {number} days before.
! You can give the ticket to a friend, but we do not take it back.
! For {price} we change the date.
# event venue
? What is on {day}?
? What happens on {day} evening?
? Is there an event on {day}?
? What can I see on {day}?
! On {day} {person} {surname} plays the guitar at {time}.
! {day} at {time}: a talk about the {animal}.
! On {day} everything costs half.
# bag venue
? Can I bring a big bag?
? Where can I leave my coat?
? Is there a cloakroom?
? Are there lockers?
! Lockers are {where}; you need a coin.
! The cloakroom is {where} and costs {price}.
! Bags larger than {n} centimetres stay outside.
# food_inside venue
? Can I bring my own food?
? Is there something to eat?
? Do you have a cafe?
? May we have a picnic?
! The cafe is {where} and sells {dish}.
! Your own food is fine {where}.
! No food inside, please.
# vegan food
? Do you have vegan food?
? Is there anything vegetarian?
? What can vegetarians eat?
? I don't eat meat, what do you have?
! We have {number} vegan dishes every day.
! The {fruit} salad and the soup are vegan.
! On {day}s everything is vegetarian.
# allergy food
? Is there {fruit} in the {dish}?
? I am allergic to {fruit}, can I eat the {dish}?
? Does the {dish} contain {fruit}?
! Yes, there is {fruit} in the {dish}.
! The {dish} is free of {fruit}.
! The {dish} may contain traces of {fruit}.
# gluten food
? Is it gluten free?
? Which allergens are in it?
? I can't eat nuts
? Do you have something without milk?
! A list of allergens hangs {where}.
! Ask {person} for the {color} menu.
# table food
? Can I reserve a table?
? Do you have a table for four tonight?
? Do I need a reservation?
? How do I book a table?
! Call {phone2} before {time}.
! Tables are free on {day}s; for other days please reserve.
! We keep a table for {n} minutes.
# dish_today food
? What is the dish of the day on {day}?
? What do you cook on {day}?
? What is for lunch on {day}?
? What's on the menu {day}?
! On {day} we cook {dish}.
! {day}'s dish is {dish} for {price}.
! {day}: {dish} with {fruit} sauce.
# takeaway food
? Can I take it away?
? Do you do takeaway?
? Can I have it to go?
? Do you deliver food?
! Takeaway is {percent} percent cheaper.
! Yes, ready after {n} minutes. Bring your own box.
! We deliver inside {city} for {price}.
# checkin stay
? When can I check in?
? What time is check-in?
? Can I arrive late at night?
? How early can I come?
! Check-in is from {time} to {time2}.
! After {time} the key is {where}; the code is {n}{n2}.
# checkout stay
? When do I have to leave the room?
? What time is check-out?
? Can I check out later?
? Can I keep my luggage at your place after check-out?
! Check-out is until {time}. A late one costs {price}.
! Bags can stay {where} until {time2}.
# breakfast stay
? Is breakfast included?
? When is breakfast?
? What does breakfast cost?
? Where do we have breakfast?
! Breakfast is from {time} to {time2}, {where}.
! Breakfast is not included and costs {price}.
# room_extra stay
? Is there a {item} in the room?
? Can I get a {item}?
? Where do I find a {item}?
! A {item} is {where}.
! For {price} {person} brings you a {item}.
! Sorry, we have no {item}.
# towels stay
? Are there towels?
? Who cleans the room?
? Can I have more pillows?
? How often is the room cleaned?
! Towels are {where}. We change them every {number} days.
! {person} cleans the rooms before {time}.
# open_account money
? How do I open an account?
? I would like to become a customer
? What do I need to open an account?
? Can I start online?
! Online, in {n2} minutes, with your passport.
! Come by with your ID; {person} {surname} does the rest.
# fees money
? What does a {item} cost per month?
? Is there a monthly fee for the {item}?
? What are the fees for a {item}?
? Is the {item} free?
! The {item} costs {price} a month.
! The {item} is free for the first {number} months, then {price}.
! For the {item} we charge {price} a month, students {price2}.
# limit money
? How high is my limit?
? Can I raise my limit?
? How much can I take out?
? I need a higher limit
! The limit is {price} a day. Raise it in the app.
! Ask {person}; a higher limit takes {wait}.
# stolen money
? My card was stolen
? I lost my card
? How do I block my card?
? Somebody used my card
! Call {phone2} at once, day and night. A new card comes after {wait}.
! Block it in the app under {word}. A new one costs {price}.
# damage money
? I had an accident, what now?
? How do I report damage?
? Something broke at home, do you pay?
? How do I make a claim?
! Report it within {number} days at {phone2}.
! Send photos to {email}. {person} {surname} decides within {wait}.
# rate money
? What is the interest rate?
? How much interest do I get?
? Which rate do you offer?
? What does the credit cost?
! The rate is {n2}.{n} percent a year.
! For new customers {percent} percent in the first year.
# bags travel
? How much luggage can I take?
? How heavy may my suitcase be?
? What does an extra bag cost?
? What are the rules for luggage?
! One bag of {n} kilos is free; each further bag costs {price}.
! A suitcase may weigh {n} kilos.
# late travel
? My trip is delayed, what do I get?
? What if the bus is late?
? I missed my connection
? Do you pay when we arrive late?
! From {n} minutes on you get {percent} percent back.
! Go to the desk {where}; {person} books a new one.
# seat travel
? Can I choose my seat?
? How do I reserve a seat?
? We want to sit together
? Is a seat included?
! A seat costs {price}. In row {n} it is free.
! Seats are given out from {time} on.
# trip travel
? When does the trip to {place} start?
? What time do you leave for {place}?
? How long is the journey to {place}?
? How much is a trip to {place}?
! To {place}: {day}s at {time}, {price}.
! The trip to {place} takes {n2} hours and costs {price}.
! We leave for {place} on {day} at {time}, {where}.
# licence travel
? Which papers do I need to travel?
? Do I need a passport?
? Is my driving licence enough?
? Do I need a visa for {country}?
! For {country} a passport is enough.
! For {country} you need a visa. It costs {price} and takes {wait}.
! {country} asks for a {color} form, {number} weeks before.
# reboot tech
? My {item} does not work
? There is a problem with the {item}
? The {item} is not working any more, what can I do?
? How do I repair my {item}?
! Switch the {item} off, wait {n} seconds and switch it on again.
! Open the {word} menu of the {item} and choose restart.
! For trouble with the {item} call {phone2}.
# update tech
? How do I update?
? Which version is the newest?
? When does the next version come?
? Where do I download the update?
! Version {n2}.{n} is the newest. It installs itself at {time}.
! Settings, {word}, update. That takes {wait}.
# slow tech
? Everything is so slow
? Why is it slow today?
? The connection is bad
? There is an outage, isn't there?
! There are works in {city} until {time}.
! Move to the {floor}, or use the {color} cable.
# device tech
? On which devices does it run?
? Does it work on my phone?
? Is there an app?
? Does it run on old computers?
! It runs on everything with {n2} gigabytes of memory.
! The app is called {word} {animal} and is free.
# bug tech
? I found a bug
? The program crashes
? There is an error message
? How do I report an error?
! Send the file {word}.log to {email}.
! Error {n}{n2} means that the disk is full.
# repair_time repair
? How long does a repair take?
? When is my {item} ready?
? How long do you need for a {item}?
! A {item} is ready after {wait}.
! For a {item} we need {wait}; express costs {price} more.
! Your {item} can be fetched on {day} after {time}.
# repair_cost repair
? What does a repair cost?
? Is it worth a repair?
? Do you make an offer first?
? Is the estimate free?
! An estimate costs {price}, which we take off the bill.
! We call you if it costs more than {price}.
# fitting shop
? Can I try it on?
? Is there a fitting room?
? Can somebody advise me?
? Which size do I need?
! The fitting rooms are {where}.
! {person} advises you on {day}s from {time} to {time2}.
# shelf shop
? Where do I find the {item}?
? Which shelf is the {item} on?
? Where do you keep the {item}?
! The {item} is {where}.
! On the {floor}, shelf {n}.
! The {item} is in aisle {n2}, next to the {fruit} juice.
# sale shop
? When is the next sale?
? What is cheaper this week?
? Do you have special offers?
? Is there anything on offer?
! This week every {item} is {percent} percent off.
! The sale starts on {day} at {time}.
"""
_HELD_TOPICS = """
# bring_back
? Until when do I have to bring the {item} back?
? How long may I keep a {item}?
? When is the {item} due?
? Can I keep the {item} longer?
! A {item} may be kept for {weeks}.
! Bring the {item} back within {weeks}, or pay {price} a day.
# deposit
? Do I have to leave a deposit?
? How much is the deposit for a {item}?
? Do I get the deposit for the {item} back?
! The deposit for a {item} is {price}.
! For a {item} you leave {price}, which we pay back on {day}.
# noise
? When do I have to be quiet?
? Is there a quiet hour?
? May we play music?
? It is too loud here
! From {time} to {time2} it must be quiet.
! Music is allowed {where} until {time}.
# volunteer
? Can I help as a volunteer?
? Do you need helpers?
? I would like to help you for free
! Volunteers meet on {day}s at {time}, {where}.
! Ask {person} {surname}. We need {number} people.
# rain
? What happens when it rains?
? Do you open in bad weather?
? Is it worth coming in the rain?
! When it rains we meet {where}.
! In bad weather we close at {time}.
# donate
? Can I give you my old things?
? Do you take donations?
? I want to give away my old books
! We take old things on {day}s, {where}.
! Please put them into the {color} box.
# birthday
? Can I celebrate my birthday at your place?
? Do you organise birthday parties?
? What does a birthday party cost?
! A party for {n2} children costs {price}.
! Parties are possible on {day}s from {time} to {time2}.
# charge_phone
? Where can I charge my phone?
? Is there a power socket?
? My battery is empty
! Sockets are {where}.
! {person} lends you a cable for {price}.
"""


def _kinds(block: str) -> dict[str, Kind]:
    result = {}
    for line in block.strip().splitlines():
        name, rest = line.split(":", 1)
        groups, items = rest.split("|")
        result[name] = Kind(tuple(i.strip() for i in items.split(",")), frozenset(groups.split()))
    return result


def _topics(block: str) -> tuple[Topic, ...]:
    result = []
    for part in block.strip().split("# ")[1:]:
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
TOPICS = _topics(_TOPICS)
HELD_TOPICS = _topics(_HELD_TOPICS)

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
