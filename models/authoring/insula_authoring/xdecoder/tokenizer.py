"""The byte-pair tokenizer of CLIP, over CLIP's own vocabulary or a small one of ours.

    python -m insula_authoring.xdecoder.tokenizer bpe_simple_vocab_16e6.txt.gz "left hippocampus"

A vocabulary is a text of merges, one pair a line after a line of comment. Its ids are, in this order: the 256 byte
characters, the same with the mark of a word's end, the merges, start, end. CLIP's file (MIT licence, published with CLIP as
bpe_simple_vocab_16e6.txt.gz) goes on after the merges that count; it is no part of this project, users bring it with the
checkpoint.
"""

from __future__ import annotations

import gzip
import html
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path

CLIP_MERGES = 48_894
CONTEXT = 77
START, END = "<|startoftext|>", "<|endoftext|>"
MARK = "</w>"
CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")

# Letters that stand for typed forms; everything but mojibake that the ftfy of the official program mends in a prompt.
_PLAIN = str.maketrans({"‘": "'", "’": "'", "‚": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "‟": '"', "ʼ": "'",
                        "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "ſt", "ﬆ": "st", "Ĳ": "IJ",
                        "ĳ": "ij", "ŉ": "'n", "Ǆ": "DŽ", "ǅ": "Dž", "ǆ": "dž", "Ǉ": "LJ", "ǈ": "Lj", "ǉ": "lj",
                        "Ǌ": "NJ", "ǋ": "Nj", "ǌ": "nj"})


def _byte_characters() -> dict[int, str]:
    """A printable character for each byte: itself where it is one, else the next one from U+0100 on. In the order of the
    vocabulary: the printable bytes first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in set(printable)]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


BYTES = _byte_characters()


_TERMINAL = re.compile(r"\x1b\[[\d;]*[A-Za-z]")  # colours and the like


def cleaned(text: str) -> str:
    """Entities unescaped, quotes straight, ligatures and full-width letters spelt out, no control characters, composed,
    one space for any run of them, lower case."""
    if "<" not in text:
        while (plain := html.unescape(text)) != text:
            text = plain
    text = _TERMINAL.sub("", text)
    text = "".join(unicodedata.normalize("NFKC", c) if 0xFF01 <= ord(c) <= 0xFFEF or c == "\u3000" else c
                   for c in text.translate(_PLAIN))
    text = "".join(c for c in text if c.isspace() or unicodedata.category(c) != "Cc" and c != "\ufeff")
    return " ".join(unicodedata.normalize("NFC", text).split()).lower()


def words(text: str) -> list[str]:
    """Special tokens, contractions, runs of letters, single digits, runs of what else is not space."""
    def kind(c: str) -> str:
        major = unicodedata.category(c)[0]
        return " " if c.isspace() else major if major in "LN" else "other"

    found, i = [], 0
    while i < len(text):
        special = next((s for s in (START, END, *CONTRACTIONS) if text.startswith(s, i)), None)
        if special:
            found.append(special)
            i += len(special)
            continue
        k, j = kind(text[i]), i + 1
        if k in ("L", "other"):
            while j < len(text) and kind(text[j]) == k:
                j += 1
        if k != " ":
            found.append(text[i:j])
        i = j
    return found


class Tokenizer:
    def __init__(self, merges: list[tuple[str, str]]):
        symbols = list(BYTES.values())
        self.merges = {pair: i for i, pair in enumerate(merges)}
        self.symbols = symbols + [s + MARK for s in symbols] + ["".join(m) for m in merges] + [START, END]
        self.ids = {s: i for i, s in enumerate(self.symbols)}
        self.start, self.end = len(self.symbols) - 2, len(self.symbols) - 1

    @classmethod
    def load(cls, path: Path | str) -> Tokenizer:
        """A file of merges, plain or .gz."""
        raw = Path(path).read_bytes()
        lines = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode().split("\n")[1:]
        merges = [tuple(line.split()) for line in lines[:CLIP_MERGES] if line.strip()]
        wrong = next((m for m in merges if len(m) != 2), None)
        if wrong is not None or not merges:
            raise ValueError(f"{path}: not a file of merges: found {wrong}, expected two symbols a line")
        return cls(merges)

    def save(self, path: Path | str) -> None:
        Path(path).write_text("# merges of a byte-pair vocabulary\n" + "".join(f"{a} {b}\n" for a, b in self.merges))

    def pieces(self, word: str) -> list[str]:
        """A word as symbols: of all pairs side by side the earliest learnt is joined, everywhere, again and again."""
        if word in (START, END):
            return [word]
        parts = [BYTES[b] for b in word.encode()]
        parts[-1] += MARK
        while len(parts) > 1:
            pair = min(zip(parts, parts[1:]), key=lambda p: self.merges.get(p, len(self.merges)))
            if pair not in self.merges:
                break
            parts = joined(parts, pair)
        return parts

    def encode(self, text: str, context: int = CONTEXT) -> list[int]:
        """Ids with start and end, without padding; at most `context`, the last one the end."""
        found = [self.ids[p] for w in words(cleaned(text)) for p in self.pieces(w)]
        return [self.start, *found[:context - 2], self.end]

    def decode(self, ids: list[int]) -> str:
        """The text up to the first end token."""
        ids = ids[:ids.index(self.end)] if self.end in ids else ids
        letters = "".join(self.symbols[i] for i in ids if i != self.start).replace(MARK, " ")
        back = {c: b for b, c in BYTES.items()} | {" ": 32}
        return bytes(back[c] for c in letters).decode(errors="replace").strip()


def joined(parts: list[str], pair: tuple[str, str]) -> list[str]:
    out, i = [], 0
    while i < len(parts):
        if tuple(parts[i:i + 2]) == pair:
            out.append("".join(pair))
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return out


def learn(texts: list[str], count: int) -> Tokenizer:
    """A vocabulary of at most `count` merges: the commonest pair of the texts' words is joined, again and again, as long as
    it comes twice. Of equally common pairs the first in the alphabet."""
    seen = Counter(w for t in texts for w in words(cleaned(t)))
    split = {w: [BYTES[b] for b in w.encode()[:-1]] + [BYTES[w.encode()[-1]] + MARK] for w in seen}
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter = Counter()
        for w, parts in split.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += seen[w]
        if not pairs:
            break
        best, n = min(pairs.items(), key=lambda p: (-p[1], p[0]))
        if n < 2:
            break
        merges.append(best)
        split = {w: joined(parts, best) for w, parts in split.items()}
    return Tokenizer(merges)


if __name__ == "__main__":
    print(Tokenizer.load(sys.argv[1]).encode(" ".join(sys.argv[2:])))
