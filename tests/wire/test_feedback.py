"""Differences, top-k and error feedback: what is left out is never lost, and lost replies are taken back."""

from __future__ import annotations

import numpy as np
import pytest
from crossing import decode
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcompress.errors import InputError, PayloadError
from fedcompress.link.client import Residuals
from fedcompress.wire.codec import Encoded, Encoding, encode
from fedcompress.wire.content import Arrays, ArraySpec, Content
from fedcompress.wire.payload import WireFormat, encode_payload, read_payload
from fedcompress.wire.references import Base, References, bases_of, from_tree, to_tree
from fedcompress.wire.shipped import SHIPPED

SHAPES = ((4, 30), (30,), (30, 3))
WEIGHTS = {"weights": Content(tuple(ArraySpec(shape) for shape in SHAPES), delta=True)}
STC = Encoding("sparse", SHIPPED["ternary"], entropy=True, delta=True, top_k=0.05, feedback=True)
LOSSY = [
    STC,
    Encoding("sparse", SHIPPED["int4"], delta=True, top_k=0.1, feedback=True),
    Encoding("sparse", SHIPPED["clustered"], entropy=True, delta=True, feedback=True, clusters=3),
    Encoding("dense", SHIPPED["int4"], delta=True, feedback=True),
    Encoding("sparse", SHIPPED["float32"], delta=True, top_k=0.02, feedback=True),
]


def weights(rng: np.random.Generator, size: float = 1.0) -> Arrays:
    return [(size * rng.standard_normal(shape)).astype(np.float32) for shape in SHAPES]


def flat(arrays: Arrays) -> np.ndarray:
    return np.concatenate([a.reshape(-1) for a in arrays]).astype(np.float64)


def link(arrays: Arrays, generation: int = 1) -> References:
    return References(bases={"weights": Base(generation, arrays)})


@given(st.sampled_from(LOSSY), st.integers(1, 8), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_error_feedback_loses_nothing(encoding: Encoding, rounds: int, seed: int) -> None:
    """Sum of what the server received + residual = sum of the client's updates, to float32."""
    rng = np.random.default_rng(seed)
    wire, residuals = WireFormat(encoding), Residuals()
    updates = received = np.zeros(sum(int(np.prod(shape)) for shape in SHAPES))
    for number in range(1, rounds + 1):
        base, update = weights(rng), weights(rng, 0.1)
        trained = [b + u for b, u in zip(base, update, strict=True)]
        references = link(base, number)
        sent = encode_payload({"weights": trained}, WEIGHTS, wire, references, residuals=residuals.now)
        got = read_payload({"weights": sent["weights"].data}, WEIGHTS, references)["weights"].arrays
        residuals = residuals.after(number, sent)
        updates = updates + flat(trained) - flat(base)
        received = received + flat(got) - flat(base)
        assert np.allclose(received + residuals.now["weights"], updates, atol=1e-5 * number)
    assert not np.allclose(received, updates, atol=1e-3)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["float32", "float16", "int8", "int4", "ternary"]), st.booleans())
@settings(max_examples=60)
def test_top_k_sends_the_largest_changes(seed: int, values: str, entropy: bool) -> None:
    rng = np.random.default_rng(seed)
    base, new = weights(rng), weights(rng)
    content = WEIGHTS["weights"]
    sent = encode([*new], content, Encoding("sparse", SHIPPED[values], entropy=entropy, top_k=0.1), reference=base)
    change, wanted = flat(sent.arrays) - flat(base), flat(new) - flat(base)
    count = int(np.ceil(0.1 * change.size))
    chosen = change != 0
    assert chosen.sum() <= count
    if values in ("float32", "float16", "ternary"):
        assert chosen.sum() == count
        assert np.abs(wanted[chosen]).min() >= np.abs(wanted[~chosen]).max() - 1e-6
        assert np.all(np.sign(change[chosen]) == np.sign(wanted[chosen]))
    assert np.array_equal(flat(decode(sent.data, content, reference=base)), flat(sent.arrays))


def test_ternary_golden() -> None:
    """Of 1, -3, 0.5, 2 the two largest: -3 and 2 become -2.5 and 2.5."""
    content = Content((ArraySpec((4,)),))
    encoding = Encoding("sparse", SHIPPED["ternary"], top_k=0.5, feedback=True)
    sent = encode([np.array([2.0, -2.0, 1.5, 3.0])], content, encoding, reference=[np.ones(4, np.float32)])
    assert sent.arrays[0].tolist() == [1.0, -1.5, 1.0, 3.5]
    assert sent.error is not None
    assert sent.error.tolist() == [1.0, -0.5, 0.5, -0.5]


def test_what_sparse_ternary_costs() -> None:
    """5 % of 100,000 changes: H(0.05) + 0.05 = 0.336 bits a weight, 95 times under float32; within 5 % of it."""
    rng = np.random.default_rng(0)
    content = Content((ArraySpec((100_000,)),), delta=True)
    base = [rng.standard_normal(100_000).astype(np.float32)]
    new = [base[0] + rng.standard_normal(100_000).astype(np.float32)]
    entropy_coded = encode(new, content, STC, reference=base)
    assert entropy_coded.bound_bytes == pytest.approx(100_000 * 0.33640 / 8, rel=1e-3)
    assert entropy_coded.bound_bytes < len(entropy_coded.data) < 1.05 * entropy_coded.bound_bytes
    deflated = encode(new, content, Encoding("sparse", SHIPPED["ternary"], top_k=0.05), reference=base)
    assert len(entropy_coded.data) < 0.97 * len(deflated.data)


def test_a_mask_is_kept_and_only_what_it_keeps_is_sent() -> None:
    rng = np.random.default_rng(0)
    content = Content(WEIGHTS["weights"].arrays, mask="mask", masked=(0, 2), delta=True)
    mask = [rng.random(SHAPES[i]) < 0.3 for i in (0, 2)]
    base, new = weights(rng), weights(rng)
    for encoding in LOSSY:
        sent = encode(new, content, encoding, mask=mask, reference=base, residual=np.ones(240, np.float32))
        back = decode(sent.data, content, mask=mask, reference=base)
        assert all(map(np.array_equal, back, sent.arrays))
        if encoding.codec == "sparse":
            assert not any(array[~kept].any() for array, kept in zip((back[0], back[2]), mask, strict=True))
            assert sent.error is not None
            assert not sent.error[:120][~mask[0].reshape(-1)].any()


class TestLinks:
    """What a link remembers."""

    wire = WireFormat(STC)

    def downlink(self, new: Arrays, references: References, number: int) -> Encoded:
        sent = encode_payload({"weights": new}, WEIGHTS, self.wire, references, generation=number)["weights"]
        assert read_payload({"weights": sent.data}, WEIGHTS, references)["weights"].data == sent.data
        return sent

    def test_the_initial_weights_cost_nothing_and_others_cross_whole(self) -> None:
        rng = np.random.default_rng(0)
        initial, new = weights(rng), weights(rng)
        assert len(self.downlink(initial, link(initial, 0), 1).data) < 40
        whole = self.downlink(new, link(initial, 0), 5)
        assert np.abs(flat(whole.arrays) - flat(new)).max() < 0.05
        assert len(whole.data) > 200

    def test_what_the_downlink_leaves_out_follows(self) -> None:
        """The server's weights stand still: round by round the client comes closer to them."""
        rng = np.random.default_rng(0)
        new, references, gaps = weights(rng), link(weights(rng), 1), []
        for number in range(2, 60):
            sent = self.downlink(new, references, number)
            references = references.sent(bases_of({"weights": sent}, WEIGHTS, number))
            gaps.append(np.abs(flat(new) - flat(references.bases["weights"].arrays)).mean())
        assert gaps[-1] < 0.1 * gaps[0]

    def test_who_missed_rounds_gets_more(self) -> None:
        rng = np.random.default_rng(0)
        base, new = weights(rng), weights(rng)
        changed = [int((flat(self.downlink(new, link(base, 5), n).arrays) != flat(base)).sum()) for n in (6, 7, 9, 15)]
        assert changed[:3] == [12, 24, 48]
        assert changed[3] > 200  # ten times as much would be half of all: it crosses whole

    def test_another_base_is_refused(self) -> None:
        rng = np.random.default_rng(0)
        base, new = weights(rng), weights(rng)
        data = {"weights": self.downlink(new, link(base), 2).data}
        with pytest.raises(PayloadError, match=r"weights cannot be decoded: it is a difference to \w{16}, but what is"):
            read_payload(data, WEIGHTS, link(new))
        with pytest.raises(PayloadError, match="but nothing is held"):
            read_payload(data, WEIGHTS, References())

    def test_a_lost_reply_is_taken_back(self) -> None:
        rng = np.random.default_rng(0)
        base = weights(rng)
        sent = [encode_payload({"weights": weights(rng)}, WEIGHTS, self.wire, link(base)) for _ in range(3)]
        after = Residuals().after(257, sent[0])
        later = after.after(513, sent[1])
        assert later.since(513) is later
        assert later.since(257).now["weights"] is after.now["weights"]
        again = later.since(257).after(769, sent[2])
        assert again.since(257).now["weights"] is after.now["weights"]
        assert later.since(1).now == {}

    def test_links_survive_a_checkpoint_and_share_what_they_hold(self) -> None:
        base = Base(3, weights(np.random.default_rng(0)))
        links = {p: References(bases={"weights": base}, accepted=p) for p in range(4)}
        tree = to_tree(links)
        assert len(tree["bases"]) == 1
        back = from_tree(tree)
        assert {p: (r.accepted, r.bases["weights"].generation, r.key) for p, r in back.items()} == {
            p: (p, 3, links[p].key) for p in links
        }
        assert back[0].bases["weights"] is back[3].bases["weights"]


@pytest.mark.parametrize(
    ("settings_", "reason"),
    [
        ({"top_k": 0.1, "codec": "sparse"}, "top_k needs delta = true"),
        ({"downlink_top_k": 0.1, "codec": "sparse"}, "top_k needs delta = true"),
        ({"top_k": 0.1, "delta": True, "codec": "dense"}, 'top_k needs weights = "sparse"'),
        ({"values": SHIPPED["ternary"], "delta": True}, "needs top_k below 1"),
        (
            {"values": SHIPPED["ternary"], "delta": True, "top_k": 0.1, "downlink_top_k": 1.0, "codec": "sparse"},
            "needs top_k",
        ),
        ({"feedback": True, "values": SHIPPED["int8"]}, "feedback needs delta = true"),
        ({"feedback": True, "delta": True}, "nothing to feed back"),
        ({"whole": SHIPPED["ternary"]}, 'whole = "ternary" is too coarse'),
    ],
)
def test_combinations_without_sense_are_refused(settings_: dict, reason: str) -> None:
    with pytest.raises(InputError, match=f"wire: .*{reason}"):
        WireFormat(Encoding(**settings_))
    with pytest.raises(InputError, match=f"wire.weights: .*{reason}"):
        WireFormat(Encoding(), {"weights": settings_})


def test_only_declared_contents_are_sent_as_differences() -> None:
    logits = Content((ArraySpec((5, 10)),))
    wire = WireFormat(STC)
    assert wire.encoding("logits", logits) == Encoding("sparse", SHIPPED["int8"], entropy=True)
    assert not wire.declared({"logits": logits})["logits"].delta
    assert not WireFormat().declared(WEIGHTS)["weights"].delta
    named = WireFormat(Encoding("sparse"), {"logits": {"delta": True, "top_k": 0.1}})
    problems = named.unsupported({"logits": logits, **WEIGHTS})
    assert problems == [
        "wire.logits.delta: only weights can be sent as differences.",
        "wire.logits.top_k: only weights can be sent as differences.",
    ]
    assert named.unsupported(WEIGHTS) == []
