"""What the page says of a model before anything is made with it."""

from __future__ import annotations

import re
from html import escape

from longtake.core.wording import counted
from longtake.studio.shelf import Model

RELATIVE_LINK = re.compile(r"(!?)\[(?P<text>[^\]]*)\]\((?!https?://)[^)]*\)")


def card(model: Model) -> str:
    """Return description and facts as HTML."""
    classes = model.index.get("classes") or ()
    facts = [
        model.family,
        f"trained on {counted(model.span, 'frame')} ({model.span / model.fps:.1f} s at {model.fps:g} fps)",
        *([f"{counted(len(classes), 'class')}: {', '.join(classes)}"] if 0 < len(classes) <= 8 else []),
        *([f"{len(classes)} classes"] if len(classes) > 8 else []),
        f"{model.size() / 1e6:.1f} MB",
    ]
    spans = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    description = model.index.get("description") or "no description"
    return f'<div class="about"><p>{escape(description)}</p><div class="facts">{spans}</div></div>'


def readme(model: Model) -> str:
    """Return its own page as Markdown, without links to files that the page cannot reach."""
    return RELATIVE_LINK.sub(r"\g<text>", model.readme) or f"No README.md in {model.folder}."
