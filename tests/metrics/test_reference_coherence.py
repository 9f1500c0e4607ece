import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.metrics import ccs, first_class_probability, ics_kl_0_t, ics_kl_t_0

NAMES = {
    "ccs_per_segment": ccs,
    "ics_KL_pt_given_p0_per_segment": ics_kl_t_0,
    "ics_KL_p0_given_pt_per_segment": ics_kl_0_t,
    "prob_of_first_class_per_segment": first_class_probability,
}


@pytest.mark.parametrize("name", NAMES)
def test_reference_coherence(vectors, expected, name):
    # the stored divergences are of single-precision rows that sum to 1 only within 1e-7
    np.testing.assert_allclose(NAMES[name](vectors["seg_probs"]), expected["coherence"][name], rtol=1e-7, atol=1e-12)


def test_reference_mean_of_the_coherence_curve(vectors, expected):
    area = ccs(vectors["seg_probs"])[1:].mean()
    assert area == pytest.approx(expected["coherence"]["ccs_auc_mean_over_t_ge_1"], rel=1e-12)


def test_coherence_by_hand():
    same, other = [0.75, 0.25], [0.25, 0.75]
    videos = np.array([[same, same], [same, other]])
    divergence = 0.75 * np.log(3) - 0.25 * np.log(3)
    np.testing.assert_allclose(ccs(videos), [1, 0.5])
    np.testing.assert_allclose(first_class_probability(videos), [0.75, 0.5])
    np.testing.assert_allclose(ics_kl_t_0(videos), [0, divergence / 2])
    np.testing.assert_allclose(ics_kl_0_t(videos), [0, divergence / 2])


def test_directions_differ_and_zeros_stay_finite():
    videos = np.array([[[0.5, 0.5, 0], [1, 0, 0]]])
    np.testing.assert_allclose(ics_kl_t_0(videos)[1], np.log(2), rtol=1e-9)
    assert ics_kl_0_t(videos)[1] == pytest.approx(0.5 * np.log(0.5) + 0.5 * np.log(0.5 / 1e-12), rel=1e-9)


@pytest.mark.parametrize("metric", NAMES.values())
def test_what_has_no_coherence(metric):
    with pytest.raises(UserError, match="shape"):
        metric(np.eye(3))
    with pytest.raises(UserError, match="softmax"):
        metric(np.ones((2, 2, 2)))
    with pytest.raises(UserError, match="too few"):
        metric(np.ones((0, 2, 2)))
