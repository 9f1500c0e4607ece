"""How the page looks: fonts of the reader's own system, calm colours, videos of few pixels shown large and sharp."""

from __future__ import annotations

import gradio as gr

SANS = ("system-ui", "-apple-system", "Segoe UI", "sans-serif")
MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")

CSS = """
.gradio-container { width: 100%; max-width: 1240px !important; margin: 0 auto !important; }
.gradio-container main { width: 100%; max-width: none; }
.html-container { padding: 0 !important; }
.title h1 { font-size: 1.35rem; margin: 0; }
.title p { margin: 0; color: var(--body-text-color-subdued); }

@media (min-width: 900px) { .stays { position: sticky; top: 1rem; align-self: flex-start; } }

.facts { display: flex; flex-wrap: wrap; gap: .35rem .5rem; margin: .25rem 0 0; }
.facts span { border: 1px solid var(--border-color-primary); border-radius: 99px; padding: .05rem .6rem;
  font-size: .8rem; color: var(--body-text-color-subdued); }
.about p { margin: 0; }
.readme table { font-size: .85rem; }
.readme h1 { font-size: 1.1rem; }

.stage, .summary { margin: 0; }
.bar { height: 8px; border-radius: 4px; overflow: hidden; background: var(--border-color-primary); }
.bar b { display: block; height: 100%; min-width: 2px; background: var(--color-accent); transition: width .3s linear; }
.bar.waiting b { width: 30% !important; animation: to-and-fro 1.6s ease-in-out infinite alternate; }
.bar.place { margin: .4rem 0 0; }
@keyframes to-and-fro { from { margin-left: 0; } to { margin-left: 70%; } }
@media (prefers-reduced-motion: reduce) { .bar.waiting b { animation: none; } }
.stage p { margin: .5rem 0; color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
.screen { background: var(--background-fill-secondary); border-radius: 8px; overflow: hidden; }
.screen > * { display: block; height: min(420px, 60vh); width: 100%; object-fit: contain; image-rendering: pixelated; }
.strip { display: grid; grid-template-columns: repeat(12, 1fr); gap: 3px; margin-top: .5rem; }
.strip > * { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 3px; image-rendering: pixelated;
  background: var(--background-fill-secondary); }

.pixels video { image-rendering: pixelated; width: 100% !important; height: min(420px, 60vh) !important;
  object-fit: contain; background: var(--background-fill-secondary); }
@media (max-width: 640px) {
  .strip { grid-template-columns: repeat(6, 1fr); }
  .screen > *, .pixels video { height: auto !important; aspect-ratio: 1; }
}
.mistake { margin: 0; padding: .6rem .8rem; border-left: 4px solid #d9534f; border-radius: 4px;
  background: color-mix(in srgb, #d9534f 12%, transparent); color: var(--body-text-color); overflow-wrap: anywhere; }
.quiet { color: var(--body-text-color-subdued); margin: 0; }

.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 260px), 1fr)); gap: 1rem; }
.grid figure { margin: 0; min-width: 0; }
.grid figcaption { display: flex; justify-content: space-between; gap: .5rem; margin-bottom: .25rem;
  font-size: .85rem; }
.grid figure > i { display: block; aspect-ratio: 1; border-radius: 6px; background: var(--background-fill-secondary); }
.grid figcaption span { color: var(--body-text-color-subdued); overflow-wrap: anywhere; }
.grid svg { width: 100%; display: block; }
.grid svg .grid { stroke: var(--border-color-primary); fill: none; }
.grid svg polyline { fill: none; stroke: var(--color-accent); stroke-width: 1.5; stroke-linejoin: round; }
.grid svg text { fill: var(--body-text-color-subdued); font-size: 10px; }
.grid video, .grid img { width: 100%; display: block; border-radius: 6px; image-rendering: pixelated;
  background: var(--background-fill-secondary); }
.grid img { margin-top: .4rem; max-height: 16rem; object-fit: contain; object-position: left top;
  image-rendering: auto; }
.run table { border-collapse: collapse; width: 100%; margin: .5rem 0; font-variant-numeric: tabular-nums; }
.run table, .run tr, .run th, .run td { border: 0 !important; }
.run th, .run td { text-align: left; padding: .25rem .75rem .25rem 0 !important; }
.run .wide { width: 40%; }
.run h3 { margin: 1.2rem 0 .5rem; font-size: 1rem; }
"""


def theme() -> gr.themes.Base:
    """Return the colours and fonts; nothing is fetched for them."""
    base = gr.themes.Base(
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=SANS, font_mono=MONO, radius_size="md"
    )
    return base.set(  # darker, and in the dark lighter, than gradio's, which are hard to read
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        color_accent="*primary_600",
    )
