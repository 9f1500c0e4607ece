"""Guidance of the frame decoder: by text and feature together, and by the feature alone beside it."""

from __future__ import annotations

import pytest
import torch

from longtake.glober import sampling


@pytest.mark.parametrize(("scale", "feature_scale"), [(3.0, 3.0), (1.0, 2.0), (6.0, -1.0)])
def test_three_scale_guidance_follows_its_formula_in_one_pass(scale, feature_scale):
    noisy, timestep = torch.randn(2, 4, 3, 3), torch.tensor([5, 6])
    nothing, both, text = torch.randn(3, 2, 4, 3, 3)
    calls = []

    def predict(given, given_timestep):
        calls.append(given_timestep.tolist())
        assert torch.equal(given, torch.cat([noisy] * 3))
        return torch.cat([nothing, both, text])

    guided = sampling.with_guidance(predict, scale, feature_scale)(noisy, timestep)
    torch.testing.assert_close(guided, nothing + feature_scale * (both - text) + scale * (both - nothing))
    assert calls == [[5, 6] * 3]


def test_passes_are_no_more_than_needed():
    assert [sampling.num_guided_passes(*scales) for scales in ((1,), (3,), (3, 0), (1, 2), (3, 2))] == [1, 2, 2, 3, 3]


@torch.no_grad()
def test_pipeline_shows_the_decoder_what_each_scale_drops(build_glober, monkeypatch):
    pipe = build_glober(text_decoder=True)
    seen = {}
    decoder = type(pipe.frame_decoder)
    control, forward = decoder.control, decoder.forward

    def watch_control(self, feature, index):
        seen["feature"] = feature
        return control(self, feature, index)

    def watch_forward(self, noisy, timestep, given, context):
        seen["context"] = context
        return forward(self, noisy, timestep, given, context)

    monkeypatch.setattr(decoder, "control", watch_control)
    monkeypatch.setattr(decoder, "forward", watch_forward)
    options = {"label": 1, "num_inference_steps": 1, "decoder_guidance_scale": 2.0}
    joint = pipe(1, **options).frames
    assert len(seen["feature"]) == 2
    assert (pipe(1, **options, decoder_feature_guidance_scale=0.0).frames == joint).all()
    assert (pipe(1, **options, decoder_feature_guidance_scale=4.0).frames != joint).any()
    null_feature, feature, null_again = seen["feature"]
    null_context, context, context_again = seen["context"]
    assert torch.equal(null_feature, null_again)
    assert not torch.equal(feature, null_feature)
    assert torch.equal(context, context_again)
    assert not torch.equal(context, null_context)
