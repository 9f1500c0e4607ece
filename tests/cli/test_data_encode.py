import dataclasses
import json

import pytest


@pytest.fixture
def model(glober, tmp_path):
    glober.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_encode_then_again_then_more(longtake, videos, model, tmp_path):
    out = tmp_path / "latents"
    encode = ("data", "encode", model, "--data", videos, "--out", out, "--device", "cpu", "--workers", 0)
    outcome = longtake(*encode, "--augment.zoom", 0.1, "--augment.mirror")
    assert outcome.status == 0
    assert outcome.out.startswith(f"wrote {out}: 3 videos x 1, 0.0 MB; 3 encoded now, in ")
    index = json.loads((out / "index.json").read_text())
    assert index["is_complete"]
    assert index["encoding"]["augment"] | {"zoom": 0.1, "mirror": True} == index["encoding"]["augment"]
    assert sorted(index["videos"]) == ["bend/a.mp4", "bend/b.mp4", "walk/a.mp4"]
    again = longtake(*encode, "--augment.zoom", 0.1, "--augment.mirror", "--variants", 3)
    assert "3 videos x 3" in again.out
    assert "6 encoded now" in again.out
    assert "whose augment is mirror=True, zoom=0.1, not none" in longtake(*encode).error_line


def test_codes_for_the_transformers_of_a_run(longtake, videos, tmp_path):
    from longtake.tats.config import TatsRecipe, TransformerConfig
    from longtake.tats.vqgan import TatsVQGAN

    run, out = tmp_path / "run", tmp_path / "codes"
    recipe = TatsRecipe(size=8, transformer=TransformerConfig(num_latents=2))
    TatsVQGAN(base_channels=4, num_codes=8, code_dim=4).save_pretrained(run / "components" / "vqgan" / "vqgan")
    config = {"family": "tats", "settings": dataclasses.asdict(recipe)}
    (run / "config.json").write_text(json.dumps(config))
    outcome = longtake("data", "encode", run, "--data", videos, "--out", out, "--variants", 2, "--device", "cpu")
    assert outcome.status == 0
    assert outcome.out.startswith(f"wrote {out}: 3 videos x 2, 0.0 MB; 6 encoded now, in ")
    index = json.loads((out / "transformer" / "index.json").read_text())
    assert index["encoding"]["content"] == "codes of 8 frames with sample_step 1, latent_step 1"


def test_broken_videos_are_named_and_left_out(longtake, videos, model, tmp_path):
    (videos / "walk" / "broken.npy").write_bytes(b"broken")
    content = bytearray((videos / "walk" / "a.mp4").read_bytes())
    middle = content.index(b"mdat") + (len(content) - content.index(b"mdat")) // 2
    content[middle:] = bytes(len(content) - middle)  # its header and first frames are as they were
    (videos / "walk" / "cut.mp4").write_bytes(content)
    outcome = longtake("data", "encode", model, "--data", videos, "--out", tmp_path / "out", "--device", "cpu")
    assert outcome.status == 0
    *left_out, summary = outcome.out.splitlines()
    assert sorted(line.split(": ")[1] for line in left_out) == ["walk/broken.npy", "walk/cut.mp4"]
    assert all(line.startswith("left out: ") for line in left_out)
    assert "3 videos x 1" in summary


def test_wrong_options_and_models(longtake, videos, tmp_path):
    rest = ("--data", videos, "--out", tmp_path / "out")
    for option in ("variants", "size"):
        message = f"--{option} must be at least 1, not 0"
        assert longtake("data", "encode", "m", *rest, f"--{option}", 0).error_line == message
    assert longtake("data", "encode", "m", *rest, "--seed", -1).error_line == "--seed must be at least 0, not -1"
    assert "no model 'm'" in longtake("data", "encode", "m", *rest).error_line
    assert "augment zoom is 2" in longtake("data", "encode", "m", *rest, "--augment.zoom", 2).error_line
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"family": "recall", "settings": {}}))
    assert "is a recall model; videos are encoded for glober, tats" in longtake("data", "encode", run, *rest).error_line
    for config in ({"family": "tats", "settings": {}}, {"_class_name": "TatsVQGAN"}):
        (run / "config.json").write_text(json.dumps(config))
        assert "is no run folder" in longtake("data", "encode", run, *rest).error_line
    assert not (tmp_path / "out").exists()
