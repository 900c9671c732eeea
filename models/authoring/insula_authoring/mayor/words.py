"""What the lines say. Nothing is taken from real records: names are syllables, numbers are drawn."""

from __future__ import annotations

import numpy as np

ONSETS = "b c d f g h j k l m n p r s t v w z br ch cl dr fr gr kr pl pr sch sh sl st th tr".split()
VOWELS = "a e i o u ai au ea ee ei ie oo ou y".split()
CODAS = ["", "", "", "n", "r", "s", "t", "l", "m", "ck", "nd", "ng", "rt", "st", "x"]
UNITS = "mm cm ml mL mGy mAs kV kVp mA ms s Hz kHz MHz dB % cm/s m/s bpm HU deg mSv mGycm fps".split()
KEYS = ("FOV TR TE TI FA NEX SL ST W L WW WL KVP MAS CTDI DLP DFOV ACC MRN DOB PID ID SE IM HR FR MI TIS TIB GAIN DR FPS PRF SV FREQ "
        "AP PA LAT SUP PRONE ERECT PORTABLE THK LOC MAG ROT CAUD CRAN LAO RAO Zoom Frame Exp Dose Dist Area Circ Mean SD Min Max").split()
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
MARKS = "R L A P S I H F RA LP AR PL R1 L2 RCC LCC RMLO LMLO".split()
PUNCTUATION = " .,;:-/()[]#*+=&@!?'\"<>_"


def _pick(rng, items):
    return items[int(rng.integers(len(items)))]


def word(rng: np.random.Generator, syllables: int | None = None) -> str:
    n = syllables or int(rng.integers(1, 4))
    return "".join(_pick(rng, ONSETS) + _pick(rng, VOWELS) + _pick(rng, CODAS) for _ in range(n))


def styled(rng, text: str) -> str:
    u = rng.uniform()
    return text.upper() if u < 0.35 else text.title() if u < 0.65 else text


def number(rng, digits: int | None = None) -> str:
    return "".join(str(d) for d in rng.integers(0, 10, digits or int(rng.integers(1, 9))))


def date(rng) -> str:
    y, m, d = int(rng.integers(1920, 2027)), int(rng.integers(1, 13)), int(rng.integers(1, 29))
    return _pick(rng, (f"{y}-{m:02}-{d:02}", f"{d:02}.{m:02}.{y}", f"{m:02}/{d:02}/{y}", f"{d}/{m}/{y % 100:02}", f"{y}{m:02}{d:02}",
                       f"{d:02}-{MONTHS[m - 1]}-{y}", f"{MONTHS[m - 1]} {d}, {y}", f"{m:02}.{d:02}.{y}"))


def clock(rng) -> str:
    h, m, s = (int(rng.integers(n)) for n in (24, 60, 60))
    return _pick(rng, (f"{h:02}:{m:02}:{s:02}", f"{h:02}:{m:02}", f"{h % 12 + 1}:{m:02} {'AP'[h // 12]}M", f"{h:02}:{m:02}:{s:02}.{number(rng, 3)}"))


def person(rng) -> str:
    a, b = word(rng, int(rng.integers(1, 4))), word(rng, int(rng.integers(1, 3)))
    if rng.uniform() < 0.7:
        a, b = (a.upper(), b.upper()) if rng.uniform() < 0.7 else (a.title(), b.title())
    return _pick(rng, (f"{a}, {b}", f"{a}^{b}", f"{a} {b}", f"{b} {a}", f"{a},{b} [{_pick(rng, 'MF')}]", f"Dr. {a.title()}"))


def value(rng) -> str:
    """A number with its name and unit, as scanners write them."""
    figure = f"{rng.uniform(0, 400):.{int(rng.integers(0, 3))}f}"
    key, unit = _pick(rng, KEYS), _pick(rng, UNITS)
    return _pick(rng, (f"{key} {figure}", f"{key}: {figure} {unit}", f"{figure} {unit}", f"{figure}{unit}", f"{key}={figure}", f"{key} {figure}{unit}",
                       f"{number(rng, 3)}/{number(rng, 2)}", f"{_pick(rng, 'WCL')}{number(rng, 3)} {_pick(rng, 'WCL')}{number(rng, 2)}"))


def medical(rng: np.random.Generator) -> str:
    """One line of an overlay."""
    u = rng.uniform()
    if u < 0.2:
        return person(rng)
    if u < 0.32:
        return date(rng)
    if u < 0.38:
        return clock(rng)
    if u < 0.42:
        return f"{date(rng)} {clock(rng)}"
    if u < 0.7:
        return value(rng)
    if u < 0.8:
        return _pick(rng, ("ID: ", "MRN ", "", "#", "Acc: ", "PID ", "Ex: ", "Se: ", "Im: ", "Im ")) + number(rng)
    if u < 0.86:
        return f"{_pick(rng, ('Se', 'Im', 'Ex', 'Slice', 'Frame', 'Image'))}{_pick(rng, (':', ' ', ': '))}{number(rng, 2)}/{number(rng, 3)}"
    if u < 0.9:
        return _pick(rng, MARKS)
    if u < 0.95:
        return styled(rng, f"{word(rng)} {_pick(rng, ('Hospital', 'Clinic', 'Med Ctr', 'Radiology', 'Imaging', 'University'))}")
    return styled(rng, " ".join(word(rng) for _ in range(int(rng.integers(1, 5)))))


def prose(rng: np.random.Generator, length: int) -> str:
    """About `length` characters of words, numbers and signs."""
    out: list[str] = []
    while sum(len(w) + 1 for w in out) < length:
        u = rng.uniform()
        w = word(rng) if u < 0.8 else number(rng) if u < 0.93 else _pick(rng, PUNCTUATION).strip() or "-"
        out.append(styled(rng, w) if rng.uniform() < 0.3 else w + (_pick(rng, ".,;:") if rng.uniform() < 0.12 else ""))
    return " ".join(out)


# Code points whose letters fonts of the script have.
SCRIPTS = {"greek": [*range(0x391, 0x3A2), *range(0x3A3, 0x3AA), *range(0x3B1, 0x3CA)],
           "cyrillic": [*range(0x410, 0x450)],
           "cjk": [*range(0x4E00, 0x9FA0), *range(0x3042, 0x3094), *range(0x30A2, 0x30F7), *range(0xAC00, 0xD7A0, 7)]}


def foreign(rng: np.random.Generator, script: str, length: int) -> str:
    """Letters of another script in words."""
    points = SCRIPTS[script]
    letters = [chr(points[int(i)]) for i in rng.integers(0, len(points), max(1, length))]
    if script != "cjk":
        for i in range(int(rng.integers(3, 9)), len(letters) - 1, int(rng.integers(5, 10))):
            letters[i] = " "
    return "".join(letters)
