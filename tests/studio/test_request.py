"""The command line and the Python lines that the page shows make the same video again, bit for bit."""

from __future__ import annotations

import dataclasses
import shlex

import pytest

from longtake import models
from longtake.cli.main import main, parse_command
from longtake.studio.generation import Made
from longtake.studio.request import Request

REQUESTS = {
    "glober": Request(
        "glober", 40, 10, 33, 7, {"label": "jump", "num_inference_steps": 2, "guidance_scale": 2.2, "reverse": True}
    ),
    "glober, slow": Request("glober", 16, 0, 16, 1, {"speed": 0.35}),
    "tats": Request("tats", 40, 0, 40, 2, {"story": [(0, "bend"), (20, "jump")], "top_p": 0.7, "mode": "sliding"}),
    "tats, goes on": Request("tats", 30, 0, 30, 2, {"first_clip": "clip.npy", "temperature": 0.45}),
    "recall": Request("recall", 40, 5, 21, 9, {"label": "bend", "mode": "vdrej", "candidates": 2}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_video_can_be_made_again(name, workshop, first_clip, monkeypatch):
    request = dataclasses.replace(REQUESTS[name], device="cpu")
    if "first_clip" in request.options:  # the page has a copy of it somewhere
        request = dataclasses.replace(request, options={**request.options, "first_clip": str(first_clip)})
    monkeypatch.chdir(first_clip.parent)
    made = list(workshop.make(request, lambda: False))[-1]
    assert isinstance(made, Made)
    video = made.video.read_bytes()
    assert main(shlex.split(made.request.command())[1:]) == 0
    assert (first_clip.parent / made.video.name).read_bytes() == video
    (first_clip.parent / made.video.name).unlink()
    exec(made.request.python(), {})
    assert (first_clip.parent / made.video.name).read_bytes() == video


def test_a_stopped_video_can_be_made_again(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = Request("glober", 64, 0, 64, device="cpu")
    enough = []
    for made in workshop.make(request, lambda: bool(enough)):
        if not isinstance(made, Made) and made.done:
            enough.append(made)
    assert 0 < made.request.length < 64
    assert main(shlex.split(made.request.command())[1:]) == 0
    assert (tmp_path / made.video.name).read_bytes() == made.video.read_bytes()


@pytest.mark.parametrize("prompt", ["-v and --seed", "it's a dog", 'say "ah" $HOME', "a\\b"])
def test_any_prompt_survives_the_shell(prompt):
    request = Request("some model", 8, 0, 8, options={"prompt": prompt})
    command = parse_command(shlex.split(request.command())[1:])
    assert (command.prompt, command.model, command.frames, command.device) == (prompt, "some model", 8, None)
    compile(request.python(), "lines", "exec")
    assert repr(prompt) in request.python()


def test_names_of_files_say_what_the_video_shows():
    assert Request("runs/mine", 8, 0, 8, 3, {"label": "bend"}).file_name == "mine-bend-seed3.mp4"
    assert Request("a/b", 8, 2, 5, options={"prompt": "A dog / runs!"}).file_name == "b-A-dog-runs-seed0-2-5.mp4"


def test_the_shipped_models_are_those_of_the_toys(shelf, weights):
    assert [model.name for model in models.available_models()] == ["glober", "recall", "tats"]
