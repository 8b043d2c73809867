"""Days and times: the many ways they are said, and the one form they are written in."""

from dataclasses import dataclass

from colonnade_tiny.draw import Draw
from colonnade_tiny.words import worded

WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = worded("""
January February March April May June July August September October November December
""")
MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
ONES = worded("""
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
""")
TENS = worded("_ _ twenty thirty forty fifty sixty seventy eighty ninety")
ORDINALS = worded("""
_ first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth
fifteenth sixteenth seventeenth eighteenth nineteenth twentieth
""")


@dataclass(frozen=True)
class Spoken:
    """Something as the caller says it and as the desk writes it."""

    said: str
    meant: str


def number_words(number: int, joint: str = "-") -> str:
    """A number below one hundred in words."""
    if number < 20:
        return ONES[number]
    tens, ones = divmod(number, 10)
    return TENS[tens] + (joint + ONES[ones] if ones else "")


def ordinal_words(number: int) -> str:
    """A day of the month as a spoken ordinal."""
    if number <= 20:
        return ORDINALS[number]
    if number == 30:
        return "thirtieth"
    return f"{TENS[number // 10]}-{ORDINALS[number % 10]}"


def ordinal_digits(number: int) -> str:
    """A day of the month as digits with their ending."""
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def day(draw: Draw) -> Spoken:
    """A day with the preposition that goes with it, and its canonical form."""
    kind = draw.rng.random()
    if kind < 0.50:
        return _weekday(draw)
    if kind < 0.58:
        weekday = draw.pick(WEEKDAYS)
        return Spoken(draw.pick(["next {0}", "on next {0}"]).format(weekday), f"next {weekday}")
    if kind < 0.70:
        word = draw.pick(["tomorrow", "tomorrow", "today"])
        return Spoken(word, word)
    return _date(draw)


def _weekday(draw: Draw) -> Spoken:
    weekday = draw.pick(WEEKDAYS)
    forms = ["on {0}"] * 6 + ["{0}"] * 3 + ["this {0}", "on {1}", "on a {0}", "this coming {0}"]
    return Spoken(draw.pick(forms).format(weekday, weekday[:3]), weekday)


def _date(draw: Draw) -> Spoken:
    written = draw.fresh(lambda: _any_date(draw))
    number, month = int(written.split()[0]), written.split()[1]
    forms = [
        "{0} {1}",
        "{1} {0}",
        "{1} {2}",
        "the {2} of {1}",
        "the {3} of {1}",
        "{1} the {2}",
        "{2} {1}",
        "{3} of {1}",
    ]
    said = draw.pick(forms).format(number, month, ordinal_digits(number), ordinal_words(number))
    return Spoken(f"on {said}", written)


def _any_date(draw: Draw) -> str:
    month = draw.number(0, 11)
    return f"{draw.number(1, MONTH_DAYS[month])} {MONTHS[month]}"


def time(draw: Draw) -> Spoken:
    """A time between seven in the morning and seven in the evening, in five-minute steps."""
    hour, minute = draw.number(7, 18), draw.pick([0, 0, 0, 30, 30, 15, 45, 5 * draw.number(0, 11)])
    meant = f"{hour:02d}:{minute:02d}"
    kind = draw.rng.random()
    if kind < 0.12:
        return Spoken(draw.pick([meant, meant, f"{hour}:{minute:02d}", f"{hour:02d}.{minute:02d}"]), meant)
    if kind < 0.45:
        return Spoken(_digits(draw, hour, minute), meant)
    if kind < 0.75:
        return Spoken(_clock_words(draw, hour, minute), meant)
    return Spoken(_plain_words(draw, hour, minute), meant)


def _digits(draw: Draw, hour: int, minute: int) -> str:
    """3pm, 3:30 pm, 3.30 p.m.; a bare 3 means the hour within the working day."""
    twelve = _twelve(hour)
    half = "am" if hour < 12 else "pm"
    suffix = draw.pick([half, half, f" {half}", f" {half}", f" {half[0]}.m.", half.upper(), f" {half.upper()}", ""])
    if minute == 0 and draw.chance(0.8):
        return f"{twelve}{suffix}" if suffix else draw.pick([f"{twelve}", f"{twelve} o'clock"])
    return f"{twelve}{draw.pick([':', ':', ':', '.'])}{minute:02d}{suffix}"


def _clock_words(draw: Draw, hour: int, minute: int) -> str:
    """Half past three, quarter to ten, twenty past four, noon."""
    if minute == 0:
        if hour == 12:
            return draw.pick(["noon", "midday", "twelve o'clock", "12 noon", "twelve noon"])
        return draw.pick(["{0} o'clock", "{0}", "{0} o'clock sharp"]).format(_hour_name(draw, hour)) + _part(draw, hour)
    past = minute <= 30
    near = hour if past else hour + 1
    steps = {15: draw.pick(["quarter", "a quarter"]), 30: "half"}
    distance = minute if past else 60 - minute
    said = steps.get(distance) or draw.pick([number_words(distance), str(distance)])
    return f"{said} {'past' if past else 'to'} {_hour_name(draw, near)}" + _part(draw, hour)


def _plain_words(draw: Draw, hour: int, minute: int) -> str:
    """Nine thirty am, three fifteen, ten oh five."""
    half = draw.pick([" am", " a.m.", "am"]) if hour < 12 else draw.pick([" pm", " p.m.", "pm"])
    suffix = half if draw.chance(0.5) else _part(draw, hour)
    if minute == 0:
        return ONES[_twelve(hour)] + (suffix or " o'clock")
    minutes = f"oh {ONES[minute]}" if minute < 10 else number_words(minute, draw.pick([" ", "-"]))
    return f"{ONES[_twelve(hour)]} {minutes}{suffix}"


def _part(draw: Draw, hour: int) -> str:
    """The part of the day, where the caller says it."""
    if draw.chance(0.75):
        return ""
    return " in the morning" if hour < 12 else " in the afternoon" if hour < 17 else " in the evening"


def _hour_name(draw: Draw, hour: int) -> str:
    return ONES[_twelve(hour)] if draw.chance(0.8) else str(_twelve(hour))


def _twelve(hour: int) -> int:
    return (hour - 1) % 12 + 1
