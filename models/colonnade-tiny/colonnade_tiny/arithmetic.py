"""Small sums: two-digit addition and subtraction, one-digit multiplication, answered digit by digit.

The worked form is what makes them learnable: each step is a one-digit fact, and the answer only copies digits.
"""

from colonnade_tiny.draw import Draw
from colonnade_tiny.spoken import number_words
from colonnade_tiny.words import listed

THINGS = listed("""
apples|pears|books|pens|stamps|coins|tickets|cups|chairs|cards|eggs|stickers|marbles|bottles|boxes|tablets|masks
bandages|forms|letters|candles|buttons|oranges|biscuits|flowers|pencils
""")

ASKED = [
    "What is {}?",
    "{}",
    "{} = ?",
    "{}=",
    "what's {}",
    "Calculate {}.",
    "How much is {}?",
    "Can you work out {}?",
    "Please add up: {}",
    "Tell me {}",
    "hi, what is {}?",
    "Compute {}",
    "I need to know {}",
    "quick sum: {}",
]
PLUS = ["{0} + {1}", "{0}+{1}", "{0} plus {1}", "{0} and {1}", "the sum of {0} and {1}"]
MINUS = ["{0} - {1}", "{0}-{1}", "{0} minus {1}", "{0} take away {1}", "{0} less {1}"]
TIMES = ["{0} x {1}", "{0}*{1}", "{0} * {1}", "{0} times {1}", "{0} multiplied by {1}", "{0}x{1}"]

PLUS_STORIES = [
    "{n} has {a} {t} and buys {b} more. How many {t} does {n} have now?",
    "There are {a} {t} on the shelf and {b} in the box. How many {t} are there in all?",
    "{n} found {a} {t} on Monday and {b} {t} on Tuesday. How many is that together?",
    "We had {a} {t}. Then {b} more came. How many {t} do we have?",
    "A clinic orders {a} {t} and later {b} more. How many {t} in total?",
    "{n} is {a} years old. How old will {n} be in {b} years?",
    "One ward has {a} patients and the other has {b}. How many patients are there?",
]
MINUS_STORIES = [
    "{n} has {a} {t} and gives away {b}. How many {t} are left?",
    "There were {a} {t} in the drawer. {b} were used. How many remain?",
    "{n} had {a} {t} but lost {b} of them. How many does {n} have now?",
    "Of {a} patients, {b} went home. How many are still here?",
    "A box holds {a} {t}. We take out {b}. How many {t} stay in the box?",
    "{n} needs {a} {t} and already has {b}. How many more does {n} need?",
]
TIMES_STORIES = [
    "{n} buys {a} boxes with {b} {t} each. How many {t} is that?",
    "There are {a} rows of {b} {t}. How many {t} are there?",
    "A patient takes {a} tablets a day for {b} days. How many tablets is that?",
    "{a} nurses each carry {b} {t}. How many {t} do they carry?",
]


def conversation(draw: Draw) -> list[dict[str, str]]:
    """One question and its worked answer."""
    sign = draw.pick("++--x")
    left, right = _operands(draw, sign)
    question = _story(draw, sign, left, right) if draw.chance(0.5) else _bare(draw, sign, left, right)
    if draw.chance(0.1):
        question = question.lower()
    return [{"role": "user", "content": question}, {"role": "assistant", "content": worked(sign, left, right)}]


def worked(sign: str, left: int, right: int) -> str:
    """The answer, one digit at a time."""
    if sign == "x":
        return f"{left} x {right} = {left * right}. Answer: {left * right}"
    (tens, ones), (other_tens, other_ones) = divmod(left, 10), divmod(right, 10)
    if sign == "+":
        carry, total = divmod(ones + other_ones, 10)[0], left + right
        steps = (
            f"Ones: {ones} + {other_ones} = {ones + other_ones}. Tens: {tens} + {other_tens} + {carry} = {total // 10}."
        )
        return f"{steps} Answer: {total}"
    borrow = int(ones < other_ones)
    top, rest = ones + 10 * borrow, left - right
    steps = f"Ones: {top} - {other_ones} = {rest % 10}. Tens: {tens} - {other_tens} - {borrow} = {rest // 10}."
    return f"{steps} Answer: {rest}"


def answer_of(text: str) -> str:
    """The number an answer ends with, or nothing."""
    return text.rpartition("Answer: ")[2].strip().rstrip(".") if "Answer: " in text else ""


def _operands(draw: Draw, sign: str) -> tuple[int, int]:
    if sign == "x":  # a table has to be learned whole: what is unseen is the story around it
        return draw.number(2, 9), draw.number(2, 9)

    def make() -> str:
        left, right = draw.number(1, 99), draw.number(1, 99)
        if sign == "-" and left < right:
            left, right = right, left
        return f"{left} {sign} {right}"

    left, _, right = draw.fresh(make).split()
    return int(left), int(right)


def _bare(draw: Draw, sign: str, left: int, right: int) -> str:
    form = draw.pick({"+": PLUS, "-": MINUS, "x": TIMES}[sign])
    if draw.chance(0.1):
        return draw.pick(ASKED).format(form.format(number_words(left), number_words(right)))
    return draw.pick(ASKED).format(form.format(left, right))


def _story(draw: Draw, sign: str, left: int, right: int) -> str:
    stories = {"+": PLUS_STORIES, "-": MINUS_STORIES, "x": TIMES_STORIES}[sign]
    return draw.pick(stories).format(n=draw.name().split()[-1], t=draw.pick(THINGS), a=left, b=right)
