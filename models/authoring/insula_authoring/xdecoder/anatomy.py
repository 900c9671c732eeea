"""What xdecoder-medical is taught to name: structures with their FreeSurfer codes, synonyms, sides and groups, the
sentences they are asked for in, and things that are not in a head.

A `Target` is what a prompt means: codes, or None for what no slice shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..labels import PAIRS

# Structures of two sides: name in labels.py -> what people call it, the first being the name of the pack's vocabulary.
PAIRED: dict[str, tuple[str, ...]] = {
    "Cerebral-White-Matter": ("cerebral white matter", "white matter of the cerebrum", "cerebral wm", "subcortical white matter"),
    "Cerebral-Cortex": ("cerebral cortex", "cortex", "cortical grey matter", "cortical gray matter", "cortical ribbon"),
    "Lateral-Ventricle": ("lateral ventricle", "lateral ventricles", "lateral cerebral ventricle"),
    "Cerebellum-White-Matter": ("cerebellar white matter", "white matter of the cerebellum", "cerebellum white matter",
                                "arbor vitae"),
    "Cerebellum-Cortex": ("cerebellar cortex", "cortex of the cerebellum", "cerebellum cortex", "cerebellar grey matter"),
    "Thalamus": ("thalamus", "thalami", "thalamic nuclei"),
    "Caudate": ("caudate nucleus", "caudate", "nucleus caudatus", "caudate nuclei"),
    "Putamen": ("putamen", "putamina"),
    "Pallidum": ("pallidum", "globus pallidus", "pallida"),
    "Hippocampus": ("hippocampus", "hippocampi", "hippocampal formation", "hippocampal"),
    "Amygdala": ("amygdala", "amygdalae", "amygdaloid body"),
    "Accumbens-area": ("nucleus accumbens", "accumbens", "accumbens area"),
    "VentralDC": ("ventral diencephalon", "ventral dc"),
}
SINGLE: dict[tuple[int, ...], tuple[str, ...]] = {
    (14,): ("third ventricle", "3rd ventricle", "ventriculus tertius"),
    (15,): ("fourth ventricle", "4th ventricle", "ventriculus quartus"),
    (16,): ("brain stem", "brainstem", "brain-stem", "truncus encephali"),
}
# Groups of structures; those of two sides can be asked for by side.
GROUPS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("Caudate", "Putamen"): ("striatum", "neostriatum", "caudate and putamen"),
    ("Putamen", "Pallidum"): ("lentiform nucleus", "lenticular nucleus"),
    ("Caudate", "Putamen", "Pallidum", "Accumbens-area"): ("basal ganglia", "basal nuclei"),
    ("Thalamus", "Caudate", "Putamen", "Pallidum", "Accumbens-area"): ("deep grey matter", "deep gray matter", "deep nuclei",
                                                                        "central grey nuclei"),
    ("Hippocampus", "Amygdala"): ("hippocampus and amygdala", "amygdala and hippocampus"),
    ("Cerebellum-White-Matter", "Cerebellum-Cortex"): ("cerebellum", "cerebellar hemisphere", "hindbrain cerebellum"),
    ("Cerebral-White-Matter", "Cerebellum-White-Matter"): ("white matter", "wm", "white substance", "substantia alba"),
    ("Cerebral-Cortex", "Cerebellum-Cortex", "Thalamus", "Caudate", "Putamen", "Pallidum", "Hippocampus", "Amygdala",
     "Accumbens-area"): ("grey matter", "gray matter", "gm", "grey substance", "substantia grisea"),
    ("Cerebral-White-Matter", "Cerebral-Cortex", "Lateral-Ventricle", "Thalamus", "Caudate", "Putamen", "Pallidum",
     "Hippocampus", "Amygdala", "Accumbens-area", "VentralDC"): ("cerebral hemisphere", "hemisphere", "cerebrum"),
}
WHOLE: dict[str, tuple[str, ...]] = {
    "ventricles": ("ventricles", "ventricular system", "cerebral ventricles", "all ventricles", "fluid-filled ventricles"),
    "brain": ("brain", "whole brain", "encephalon", "brain parenchyma and ventricles", "intracranial brain tissue"),
}
SIDED = ("{side} {name}", "the {side} {name}", "{name} on the {side}", "{side}-sided {name}", "{name}, {side}",
         "{name} ({side})", "{name} {side}", "{name} of the {side} side", "the patient's {side} {name}")
LETTERS = {"left": ("l", "lt"), "right": ("r", "rt")}
BOTH = ("both {name}", "{name} on both sides", "bilateral {name}", "left and right {name}", "{name}")
SENTENCES = ("{}", "{}", "{}", "the {}", "{}.", "show the {}", "segment the {}", "find the {}", "where is the {}?",
             "outline the {}", "please mark the {}", "show me the {}", "highlight {}", "a picture of the {}", "mask of the {}")

# What a head does not hold. The second list is never trained on: evaluation asks for it.
FOREIGN = ("liver", "left kidney", "right kidney", "spleen", "heart", "left lung", "lungs", "stomach", "bladder", "prostate",
           "uterus", "femur", "knee", "rib", "ribs", "spine", "vertebra", "lumbar disc", "colon", "small bowel", "aorta",
           "trachea", "oesophagus", "pelvis", "tibia", "shoulder", "wrist", "hand", "foot", "ankle", "breast", "thyroid",
           "adrenal gland", "gall bladder", "portal vein", "muscle", "left atrium", "nodule", "fracture", "pneumonia",
           "catheter", "pacemaker", "screw", "implant", "cat", "dog", "car", "tree", "house", "person", "bicycle", "banana",
           "boat", "bird", "cup", "window", "road", "grass", "clouds", "horse", "chair", "table", "letters", "nothing at all",
           "sternum", "scapula", "ovary", "testis", "duodenum", "ureter", "diaphragm", "humerus", "toe", "finger", "sofa",
           "elephant", "airplane", "train", "sandwich", "clock", "keyboard", "water bottle", "shoe", "flower", "fish")
HELD_OUT = ("pancreas", "left ventricle of the heart", "right lung", "sacrum", "hip joint", "rectum", "inferior vena cava",
            "clavicle", "appendix", "elbow", "patella", "kidney stone", "stent", "remote control", "umbrella", "giraffe",
            "traffic light", "pizza", "laptop", "mountain", "coffee mug", "guitar", "bus", "zebra", "iliac bone")


@dataclass(frozen=True)
class Target:
    """A meaning: FreeSurfer codes, none for what no head shows. `sided`: only one half of a pair."""

    key: str
    codes: frozenset[int] | None
    names: tuple[str, ...]
    sided: str = ""  # "left", "right" or ""


CODES = {name: (frozenset(left), frozenset(right)) for name, left, right, _, _ in PAIRS}
CHOROID = {"left": (31, 136, 137), "right": (63, 163, 164)}  # inside ventricles; label maps and FreeSurfer divide differently


def targets() -> list[Target]:
    """All meanings with at least one code, each side and both sides apart."""
    found = []
    for members, names in [*(((m,), n) for m, n in PAIRED.items()), *GROUPS.items()]:
        left, right = (frozenset().union(*(CODES[m][side] for m in members)) for side in (0, 1))
        found += [Target(names[0], left | right, names), Target(f"left {names[0]}", left, names, "left"),
                  Target(f"right {names[0]}", right, names, "right")]
    found += [Target(names[0], frozenset(codes), names) for codes, names in SINGLE.items()]
    inside = frozenset().union(*(c for pair in CODES.values() for c in pair)) | {14, 15, 16}
    ventricles = frozenset({4, 5, 43, 44, 14, 15})
    found += [Target("ventricles", ventricles, WHOLE["ventricles"]), Target("brain", inside, WHOLE["brain"])]
    return found


TARGETS = targets()
BY_KEY = {t.key: t for t in TARGETS}


def phrase(rng: np.random.Generator, target: Target) -> str:
    """One of the ways to ask for a target."""
    name = str(rng.choice(target.names)) if rng.uniform() < 0.6 else target.names[0]
    if target.sided:
        side = target.sided if rng.uniform() < 0.9 else str(rng.choice(LETTERS[target.sided]))
        name = str(rng.choice(SIDED)) if rng.uniform() < 0.5 else SIDED[0]
        name = name.format(side=side, name=target.names[0] if rng.uniform() < 0.5 else str(rng.choice(target.names)))
    elif len(target.codes or ()) > 1 and f"left {target.key}" in BY_KEY and rng.uniform() < 0.15:
        name = str(rng.choice(BOTH)).format(name=name)
    return str(rng.choice(SENTENCES)).format(name)


def foreign(rng: np.random.Generator) -> str:
    """Something no head holds: another part of the body, a thing, or letters without sense."""
    if rng.uniform() < 0.25:
        syllables = rng.integers(2, 5)
        name = "".join(rng.choice(list("bcdfghjklmnprstvwz")) + rng.choice(list("aeiou")) for _ in range(syllables))
    else:
        name = str(rng.choice(FOREIGN))
    return str(rng.choice(SENTENCES)).format(name)


def corpus() -> list[str]:
    """Sentences the vocabulary is learnt from: every name with every way to tell its side, every sentence, every thing."""
    names = [n for t in TARGETS for n in t.names]
    sided = [s.format(side=side, name=n) for n in set(names) for s in SIDED for side in ("left", "right")]
    return [*names * 3, *sided, *BOTH, *SENTENCES * 20, *FOREIGN * 2]
