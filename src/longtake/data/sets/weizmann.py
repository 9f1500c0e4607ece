"""Weizmann actions: 9 people, 10 actions, 93 videos (Gorelick et al., ICCV 2005).

    <person>_<action>.avi, twice filmed <person>_<action>1.avi and ..2.avi, in any folders

becomes <action>/... with split `all`, and train/<action>/..., test/<action>/... with a person's name as split: that
person is the test set. The recall papers cut 20 pixels off each edge first (`margin`).
"""

from __future__ import annotations

import re
from pathlib import Path

from longtake.core.errors import UserError
from longtake.data.sets.layout import DataSet, Item, videos_by_name

PEOPLE = ("daria", "denis", "eli", "ido", "ira", "lena", "lyova", "moshe", "shahar")
ACTIONS = ("bend", "jack", "jump", "pjump", "run", "side", "skip", "walk", "wave1", "wave2")


def _find(root: Path, split: str) -> list[Item]:
    items = []
    for name, path in sorted(videos_by_name(root, (".avi",)).items()):
        person, action = _parse(name)
        part = "" if split == "all" else "test" if person == split else "train"
        items.append(Item(path, part, f"{action}/{path.stem}"))
    if not items:
        raise UserError(f"{root} holds no <person>_<action>.avi, such as daria_bend.avi")
    return items


def _parse(name: str) -> tuple[str, str]:
    """Split "lena_walk2.avi" into "lena" and "walk"; the digits of wave1 and wave2 belong to the action."""
    match = re.fullmatch(rf"({'|'.join(PEOPLE)})_({'|'.join(ACTIONS)})[12]?\.avi", name.lower())
    if match is None:
        raise UserError(f"{name} is not named person_action.avi ({', '.join(PEOPLE)}; {', '.join(ACTIONS)})")
    return match[1], match[2]


WEIZMANN = DataSet(_find, splits=("all", *PEOPLE))
