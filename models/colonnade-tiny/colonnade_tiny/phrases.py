"""How callers put things: openings, replies and second thoughts, for the booking calls."""

from colonnade_tiny.words import listed

GREETINGS = [
    "",
    "",
    "",
    "",
    "",
    "",
    "Hi, ",
    "Hello, ",
    "Hi! ",
    "Hello! ",
    "Good morning, ",
    "Good afternoon. ",
    "Hey, ",
    "Hi there, ",
]
TAILS = [
    "",
    "",
    "",
    "",
    "",
    " please",
    ", please",
    ", thanks",
    ", thank you",
    " if possible",
    ", if that's ok",
    " if you can",
]

# What the caller wants, before the pieces that say for whom, when and why.
WANTS = {
    "book": listed("""
I'd like to book an appointment|I would like to make an appointment|Can I book an appointment|Book an appointment
I need an appointment|Could I get an appointment|I want to book an appointment|Please book me in|Can I come in
I'd like to come in|Can I have an appointment|Book me in|Could you book me in|Is there anything free
Do you have anything|I want to schedule an appointment|Schedule an appointment|Could you fit me in
Can I make a booking|An appointment|I need to see the doctor|I'd like to see someone|Could I book a visit
Please make an appointment|I'm calling to book|I was hoping to get an appointment|Set up an appointment
Can you schedule me|I need a booking|May I book an appointment|I am looking for an appointment|Put me down
I'd like to set up a visit|Make an appointment|Can you book an appointment
"""),
    "move": listed("""
I need to move my appointment|I'd like to move my appointment|Can I move my appointment|Please move my appointment
I want to reschedule my appointment|Can I reschedule|Could you reschedule my appointment
I need to change my appointment|Can we shift my appointment|I'd like to change my booking|Move my appointment
Reschedule my appointment|Can you move my visit|I have to reschedule|Could we move my appointment
Change my appointment|I need to push my appointment back|I'm calling to move my appointment
I would like to reschedule|Is it possible to move my appointment|Please change my booking
"""),
    "cancel": listed("""
I need to cancel my appointment|I'd like to cancel my appointment|Please cancel my appointment
Cancel my appointment|Can you cancel my appointment|I want to cancel my booking|I have to cancel my appointment
Could you cancel my visit|I'm calling to cancel my appointment|I can't make my appointment
I won't be able to come to my appointment|Cancel my booking|I would like to cancel|Please cancel my visit
Can I cancel my appointment|I won't make it to my appointment|Cancel the appointment|Take me off the list
I need to call off my appointment|Please cancel the booking
"""),
}

# Someone who has not said what they want yet; the desk asks, and gets one of the short answers.
UNSURE = listed("""
I'm calling about an appointment|It's about my appointment|appointment|I have a question about my appointment
I'm calling about my appointment|It is about an appointment|appointments|I need help with an appointment
my appointment
""")
SHORT = {
    "book": [
        "book",
        "Book one",
        "I'd like to book one",
        "a new one",
        "book please",
        "make a new one",
        "I want to book",
        "Booking",
    ],
    "move": [
        "move",
        "Move it",
        "I'd like to move it",
        "reschedule",
        "move please",
        "change it",
        "I want to move it",
        "Moving",
    ],
    "cancel": [
        "cancel",
        "Cancel it",
        "I'd like to cancel it",
        "cancel please",
        "cancelling",
        "I want to cancel",
        "Cancel it please",
    ],
}

NAME_INLINE = [" for {n}"] * 5 + [
    " under {n}",
    " under the name {n}",
    " in the name of {n}",
    " for {n}",
    " for my son {n}",
    " for my daughter {n}",
    " for my mother {n}",
    " for a patient called {n}",
]
NAME_BEFORE = [
    "This is {n}. ",
    "My name is {n}. ",
    "{n} here. ",
    "I'm {n}. ",
    "It's {n}. ",
    "This is {n}, ",
    "My name is {n} and ",
]
NAME_AFTER = [
    ". My name is {n}",
    ". The name is {n}",
    ". It's for {n}",
    ", name {n}",
    ". This is {n}",
    ", my name is {n}",
    ". I am {n}",
]
REASON = [" for {r}", " for {r}", " about {r}", ", it's for {r}", " because of {r}", ", I need {r}", " as I have {r}"]
TERSE = [
    "{n}, {d}, {t}",
    "appointment {n} {d} {t}",
    "{n} {d} {t}",
    "book {n} {d} {t}",
    "{d} {t} for {n}",
    "{d}, {t}, {n}",
]

SAY_NAME = ["{n}"] * 4 + [
    "It's {n}",
    "My name is {n}",
    "{n}, please",
    "For {n}",
    "Under {n}",
    "The name is {n}",
    "I'm {n}",
    "it's for {n}",
    "This is {n}",
    "{n} is the name",
    "Sure, {n}",
    "Put it under {n}",
    "Yes, it's {n}",
    "that would be {n}",
]
SAY_DAY = ["{d}"] * 4 + [
    "{d} please",
    "{d}, please",
    "How about {d}?",
    "Let's say {d}",
    "{d} would be great",
    "{d} works for me",
    "Can we do {d}?",
    "Maybe {d}",
    "Is {d} free?",
    "I think {d}",
    "um, {d}",
    "{d} if possible",
    "It's {d}",
    "{d} is best",
]
SAY_TIME = ["{t}"] * 3 + [
    "at {t}",
    "At {t}",
    "{t} please",
    "{t}, please",
    "How about {t}?",
    "{t} would be great",
    "Let's say {t}",
    "around {t}",
    "{t} works",
    "Can we do {t}?",
    "Is {t} free?",
    "Maybe {t}",
    "um, {t}",
    "{t} is fine",
    "{t} suits me",
]
SAY_DAY_TIME = [
    "{d} at {t}",
    "{d} at {t} please",
    "{d}, {t}",
    "{t} {d}",
    "How about {d} at {t}?",
    "{d} at {t} would be great",
]
SAY_NAME_DAY = ["{n}, {d}", "It's {n}, {d} please", "For {n}, {d}", "{n}. {d} would be good"]

AGAIN = [
    "sorry?",
    "Pardon?",
    "Sorry, what did you say?",
    "what?",
    "Can you repeat that?",
    "Come again?",
    "I didn't hear you",
]
NEW_TIME = [
    "Actually, make it {t}",
    "Can you make it {t} instead?",
    "Sorry, I meant {t}",
    "Change that to {t} please",
    "No, {t}",
    "Hmm, could we do {t} instead?",
    "wait, {t} is better",
]
NEW_DAY = [
    "Actually, make it {d}",
    "Can we do it {d} instead?",
    "Sorry, I meant {d}",
    "Change it to {d} please",
    "No, {d}",
    "wait, {d} is better",
    "Could it be {d} instead?",
]
CALL_OFF = [
    "Actually, cancel it",
    "Sorry, please cancel that",
    "I changed my mind, cancel it",
    "Cancel that appointment please",
]
ACCEPT = [
    "yes",
    "Yes please",
    "yes, that works",
    "Sure",
    "ok",
    "That's fine",
    "Yes, take it",
    "perfect",
    "Yeah, ok",
    "sounds good",
]
ANOTHER = ["Also, ", "And ", "One more thing. ", "Yes, ", "yes please, ", "Another thing: ", ""]
