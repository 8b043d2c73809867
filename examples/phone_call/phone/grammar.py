"""What callers can be understood to say: a grammar for the recogniser, and its words as people write them. Pure.

A recogniser with a grammar hears nothing else: a name that is not in the list is heard as one that is.
"""

from __future__ import annotations

NAMES = tuple(
    """Maria Lopez|John Smith|Anna Brown|Peter Walker|Sofia Garcia|Daniel Miller|Emma Wilson|Lucas Moore|Olivia Taylor
Noah Jackson|Grace Thompson|Jack White|Chloe Harris|Oscar Clark|Henry Lewis|Alice Hall|Arthur King|Martha Green
Samuel Baker|Hannah Carter""".replace("\n", "|").split("|")
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOURS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

_OPEN_WORDS = """i would like to want need can my the an a for at on is it this how about half past quarter please no
book make move cancel"""
_OPEN = {*_OPEN_WORDS.split(), *(name.split()[0].lower() for name in NAMES)}
"""Words that nobody stops at."""
_CAPITALS = {word.lower(): word for word in (*DAYS, "I", *(part for name in NAMES for part in name.split()))}
_CLOSED = {"please", "no"}
_APART = {"actually", "no", "hello", "hi"}
"""First words that a comma follows."""


def jsgf(names: tuple[str, ...] = NAMES) -> str:
    """In the Java Speech Grammar Format."""
    return f"""#JSGF V1.0;
grammar booking;
public <turn> = <opening> | <answer>;
<opening> = [<hello>] (<book> | <move> | <cancel>) [please];
<hello> = hello | hi | good morning | good afternoon;
<want> = i would like to | i want to | i need to | can i | please;
<book> = [<want>] (book | make) an appointment [for <name>] [<day>] [at <time>];
<move> = [<want>] move (my | the) appointment [for <name>] [to <plain>] [at <time>];
<cancel> = [<want>] cancel (my | the) appointment [for <name>] [<day>];
<answer> = [it is | my name is | this is | for] <name> [please] | [how about] <day> [please]
  | [at | how about] <time> [please] | <day> at <time> [please] | yes [please] | no [thank you | thanks]
  | actually make it <time> | no <time> | thank you | hello | goodbye | bye | actually cancel it;
<plain> = {" | ".join(day.lower() for day in DAYS)} | tomorrow | today;
<day> = [on] <plain>;
<hour> = {" | ".join(HOURS)};
<time> = <hour> o'clock | <hour> (fifteen | thirty | forty five) | half past <hour> | quarter (past | to) <hour> | noon;
<name> = {" | ".join(name.lower() for name in names)};
"""


def written(heard: str) -> str:
    """With the capitals and the commas that people write."""
    text = " ".join(_CAPITALS.get(word, word) for word in heard.split())
    first, _, rest = text.partition(" ")
    if rest and first in _APART and not rest.startswith("thank"):
        text = f"{first}, {rest}"
    return text[:1].upper() + text[1:]


def finished(heard: str) -> bool:
    """Whether a caller may have said all: not where the last word wants another one."""
    last = heard.split()[-1:]
    return bool(last) and (last[0] not in _OPEN or last[0] in _CLOSED)
