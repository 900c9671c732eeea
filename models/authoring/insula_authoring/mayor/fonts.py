"""Fonts of Debian packages, found where the packages put them. Only pictures drawn with them are used; no font is copied.

    apt-get install fonts-dejavu-core fonts-dejavu-extra fonts-liberation fonts-freefont-ttf fonts-hack fonts-inconsolata \\
        fonts-terminus-otb xfonts-base fonts-roboto-unhinted fonts-open-sans fonts-lato fonts-ocr-a fonts-ocr-b \\
        fonts-jetbrains-mono fonts-cabin fonts-go fonts-urw-base35 fonts-droid-fallback
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont


@dataclass(frozen=True)
class Family:
    package: str
    licence: str
    folder: str
    names: str  # regular expression of file names
    kind: str = "sans"  # sans, serif, mono, bitmap, cjk
    held_out: bool = False  # only evaluation draws with it
    scripts: tuple[str, ...] = ("latin",)


ALL = ("latin", "greek", "cyrillic")
SHARE = "/usr/share/fonts/"
FAMILIES = (
    Family("fonts-dejavu-core", "Bitstream Vera", SHARE + "truetype/dejavu", r"DejaVuSans(-Bold)?\.ttf", scripts=ALL),
    Family("fonts-dejavu-core", "Bitstream Vera", SHARE + "truetype/dejavu", r"DejaVuSansMono(-Bold)?\.ttf", "mono", scripts=ALL),
    Family("fonts-dejavu-extra", "Bitstream Vera", SHARE + "truetype/dejavu", r"DejaVuSansCondensed(-Bold)?\.ttf", scripts=ALL),
    Family("fonts-dejavu-core", "Bitstream Vera", SHARE + "truetype/dejavu", r"DejaVuSerif(-Bold)?\.ttf", "serif", scripts=ALL),
    Family("fonts-liberation", "OFL-1.1", SHARE + "truetype/liberation", r"LiberationSans-.*\.ttf", scripts=ALL),
    Family("fonts-liberation", "OFL-1.1", SHARE + "truetype/liberation", r"LiberationSansNarrow-.*\.ttf", scripts=ALL),
    Family("fonts-liberation", "OFL-1.1", SHARE + "truetype/liberation", r"LiberationMono-.*\.ttf", "mono", scripts=ALL),
    Family("fonts-liberation", "OFL-1.1", SHARE + "truetype/liberation", r"LiberationSerif-.*\.ttf", "serif", scripts=ALL),
    Family("fonts-freefont-ttf", "GPL-3+ with font exception", SHARE + "truetype/freefont", r"FreeSans.*\.ttf", scripts=ALL),
    Family("fonts-freefont-ttf", "GPL-3+ with font exception", SHARE + "truetype/freefont", r"FreeMono.*\.ttf", "mono", scripts=ALL),
    Family("fonts-freefont-ttf", "GPL-3+ with font exception", SHARE + "truetype/freefont", r"FreeSerif.*\.ttf", "serif", True, ALL),
    Family("fonts-hack", "MIT and Bitstream Vera", SHARE + "truetype/hack", r".*\.ttf", "mono", True),
    Family("fonts-inconsolata", "OFL-1.0", SHARE + "truetype/inconsolata", r".*\.[ot]tf", "mono"),
    Family("fonts-jetbrains-mono", "Apache-2.0", SHARE + "truetype/jetbrains-mono", r"JetBrainsMono-(Regular|Bold|Light)\.ttf", "mono"),
    Family("fonts-ocr-a", "public domain", SHARE + "truetype/ocr-a", r".*\.ttf", "mono"),
    Family("fonts-ocr-b", "free of conditions", SHARE + "opentype/ocr-b", r".*\.otf", "mono", True),
    Family("fonts-go", "BSD-3-Clause", SHARE + "fonts-go", r"Go-(Regular|Bold|Medium|Mono.*)\.ttf"),
    Family("fonts-roboto-unhinted", "Apache-2.0", SHARE + "truetype/roboto/unhinted/RobotoTTF", r"Roboto-(Regular|Bold|Light|Medium)\.ttf", "sans", True, ALL),
    Family("fonts-open-sans", "Apache-2.0", SHARE + "truetype/open-sans", r".*\.ttf", scripts=ALL),
    Family("fonts-lato", "OFL-1.1", SHARE + "truetype/lato", r"Lato-(Regular|Bold|Light|Medium|Heavy)\.ttf"),
    Family("fonts-cabin", "OFL-1.1", SHARE + "opentype/cabin", r"Cabin-(Regular|Bold|Medium)\.otf", "sans", True),
    Family("fonts-urw-base35", "AGPL-3 with font exception", SHARE + "opentype/urw-base35", r"Nimbus(Sans|SansNarrow)-.*\.otf"),
    Family("fonts-urw-base35", "AGPL-3 with font exception", SHARE + "opentype/urw-base35", r"NimbusMonoPS-.*\.otf", "mono"),
    Family("fonts-urw-base35", "AGPL-3 with font exception", SHARE + "opentype/urw-base35", r"(URWGothic|URWBookman|C059|P052|Z003).*\.otf", "serif"),
    Family("fonts-terminus-otb", "OFL-1.1", SHARE + "opentype/terminus", r"terminus-(normal|bold)\.otb", "bitmap", scripts=ALL),
    Family("xfonts-base", "public domain", SHARE + "X11/misc", r"(5x7|5x8|6x10|6x13|6x13B|7x13|7x13B|8x13|8x16|9x15|9x18B|10x20)\.pcf\.gz", "bitmap"),
    Family("xfonts-base", "public domain", SHARE + "X11/misc", r"(6x12|7x14|7x14B|8x13B|9x15B|12x24)\.pcf\.gz", "bitmap", True),
    Family("fonts-droid-fallback", "Apache-2.0", SHARE + "truetype/droid", r"DroidSansFallback.*\.ttf", "cjk", scripts=("cjk",)),
)
TERMINUS = (12, 14, 16, 18, 20, 22, 24, 28, 32)


@dataclass(frozen=True)
class Face:
    """One font file; a bitmap has only the pixel heights `sizes`."""

    path: str
    family: Family
    sizes: tuple[int, ...] = ()

    def at(self, size: int) -> ImageFont.FreeTypeFont:
        """The font about `size` pixels high (em), for a bitmap its nearest height."""
        return _load(self.path, min(self.sizes, key=lambda s: abs(s - size)) if self.sizes else size)


@lru_cache(maxsize=600)
def _load(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def _sizes(path: Path, family: Family) -> tuple[int, ...]:
    if family.kind != "bitmap":
        return ()
    height = re.match(r"\d+x(\d+)", path.name)
    return (int(height[1]),) if height else TERMINUS


def find(held_out: bool) -> list[list[Face]]:
    """The installed faces for training, or those kept for evaluation: one list per family, families in the order above."""
    found = []
    for family in FAMILIES:
        if family.held_out == held_out:
            files = sorted(p for p in Path(family.folder).glob("*") if re.fullmatch(family.names, p.name))
            if files:
                found.append([Face(str(p), family, _sizes(p, family)) for p in files])
    if not found:
        raise FileNotFoundError("none of the fonts is installed; the packages to install are named in mayor/fonts.py")
    return found
