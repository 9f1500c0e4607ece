"""The page itself, served on a free port and used through gradio's client, which does what a browser does."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

pytest.importorskip("gradio", reason="the page needs gradio: pip install 'longtake[studio]'")

import re

from gradio_client import Client

from longtake import models
from longtake.studio import form, model_card, preview, style
from longtake.studio.app import serve
from longtake.studio.form import CONTROLS
from longtake.studio.generation import Workshop
from longtake.studio.make_tab import MakeTab, length_text
from longtake.studio.shelf import Shelf
from longtake.video import read_video


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def shelf(weights):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "WEIGHTS", weights)
        yield Shelf(device="cpu")


@pytest.fixture(scope="module")
def address(shelf):
    with serve(shelf, free_port()) as address:
        yield address


@pytest.fixture(scope="module")
def client(address, tmp_path_factory) -> Client:
    downloads = tmp_path_factory.mktemp("downloads")
    return Client(address, download_files=downloads, verbose=False, analytics_enabled=False)


def filled(shelf, name, **values):
    """What the browser sends: model, frames, seed, whether a part, the part, and all controls."""
    fields = form.fields(shelf.model(name))
    hidden = {"slider": 1, "switch": False, "number": 0}
    given = {
        control.name: fields[control.name].value if control.name in fields else hidden.get(control.kind)
        for control in CONTROLS
    }
    given |= {key: value for key, value in values.items() if key in given}
    part = values.get("part")
    start, stop = part or (0, 1)
    return [name, values.get("frames", 16), values.get("seed", 0), part is not None, start, stop, *given.values()]


def test_a_video_is_made_through_the_page(client, shelf):
    job = client.submit(*filled(shelf, "glober", label="jump", frames=40, part=(10, 34), seed=4), api_name="/make")
    screen, video, download, sheet, command, python = job.result()
    expected = shelf.load("glober")(40, start=10, stop=34, label="jump", seed=4).frames
    path = video["video"] if isinstance(video, dict) else video
    assert read_video(Path(path)).shape == expected.shape
    assert Path(download["value"]).read_bytes() == Path(path).read_bytes()
    assert Path(sheet if isinstance(sheet, str) else sheet["path"]).is_file()
    assert "frames 10 to 33 of 40, 24 frames · 1.0 s at 25 fps · 16x16" in screen
    shown = command if isinstance(command, str) else command["code"]
    assert "--frames 40 --start 10 --stop 34 --seed 4 --label jump" in shown
    assert "longtake.load('glober', device='cpu')" in python
    seen = [output[0] for output in job.outputs()]
    assert any('role="progressbar"' in screen for screen in seen)


def test_a_mistake_is_a_line_on_the_page(client, shelf):
    screen, *_ = client.predict(*filled(shelf, "glober", label="bent"), api_name="/make")
    assert '<p class="mistake" role="alert">unknown label &#x27;bent&#x27;; did you mean &#x27;bend&#x27;?' in screen
    screen, *_ = client.predict(*filled(shelf, "tats", frames=None), api_name="/make")
    assert "frames must be a whole number, not empty" in screen


def test_stop_ends_it_at_once(client, shelf):
    job = client.submit(*filled(shelf, "glober", frames=10**6), api_name="/make")
    deadline = time.monotonic() + 60
    while not any("left" in output[0] for output in job.outputs()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    client.predict(api_name="/stop")
    screen = job.result(timeout=20)[0]
    assert screen.startswith('<p class="summary"><b>Stopped.</b> frames 0 to ')


def test_models_are_compared(client, address):
    html = client.predict(["glober", "tats", "recall"], "jump", 8, 1, api_name="/compare")
    names = re.findall(r"<figcaption><b>(\w+)</b>", html)
    assert names == ["glober", "tats", "recall"]
    urls = re.findall(r'<video src="(gradio_api/file=[^"]+)"', html)
    assert [Path(url).name for url in urls] == [f"{name}-jump-seed1.mp4" for name in names]
    for url in urls:
        assert urlopen(address + url).read(12)[4:8] == b"ftyp"


def test_the_page_asks_nobody_else(address):
    """Neither its text nor its style names another server; the browser's own requests were looked at by hand."""
    text = urlopen(address).read().decode()
    assert "default-src 'self'" in text.replace("\\u0027", "'")  # nor may a model's README
    assert not re.findall(r'(?:src|href)="(?:https?:)?//(?!127)[^"]+"', text)
    assert "url(" not in style.CSS
    theme = urlopen(f"{address}theme.css").read().decode()
    assert set(re.findall(r"https?://([^/]*)", theme)) <= {"www.w3.org"}  # the name of SVG


def test_a_page_that_nobody_uses_takes_next_to_nothing(client):
    before, time_then = time.process_time(), time.monotonic()
    time.sleep(3)
    assert (time.process_time() - before) / (time.monotonic() - time_then) < 0.025  # gradio's own pace takes 0.07


def test_other_files_are_not_served(address, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("x")
    for path in (secret, "/etc/passwd", "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", Path(__file__).name):
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{address}gradio_api/file={path}")
        assert refused.value.code == 403


def test_a_video_of_one_frame_can_be_asked_for(shelf):
    """On the way to 16 there is a 1, and gradio refuses a slider from 1 to 1."""
    _, start, stop = MakeTab(Workshop(shelf, Path())).measure("glober", 1, 0, 64)
    assert (start["maximum"], start["value"], stop["value"]) == (1, 0, 1)
    assert stop["maximum"] > 1


def test_its_files_go_when_it_ends(shelf, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    port = free_port()
    with serve(shelf, port) as address:
        client = Client(address, download_files=False, verbose=False, analytics_enabled=False)
        client.predict(*filled(shelf, "glober"), api_name="/make")
        assert len(list(tmp_path.glob("longtake-studio-*"))) == 1
        client.close()
    assert not list(tmp_path.glob("longtake-studio-*"))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def test_what_is_said_of_a_model(shelf):
    card = model_card.card(shelf.model("glober"))
    for fact in (
        "a tiny model",
        "glober",
        "trained on 8 frames (0.3 s at 25 fps)",
        "4 classes: bend, jump, walk, wave2",
    ):
        assert fact in card
    assert model_card.readme(shelf.model("glober")) == "# Tiny\n\nSee the code and [this](https://a.b)."
    assert "No README.md" in model_card.readme(shelf.model("tats"))


def test_times_as_people_say_them():
    times = {3.14: "3.1 s", 42.3: "42 s", 240: "4 min", 7300: "2 h 02 min"}
    assert {seconds: preview.duration(seconds) for seconds in times} == times
    assert length_text(64, 25.0) == "2.6 s at 25 fps"
