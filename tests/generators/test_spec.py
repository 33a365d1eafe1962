"""What a GAN is made of: shapes, sizes, what it refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fedcompress.errors import InputError
from fedcompress.generators.spec import NAMES, GanSpec
from fedcompress.wire.codec import Encoding
from fedcompress.wire.payload import WireFormat, decode_payload, encode_payload
from fedcompress.wire.shipped import SHIPPED

SHAPES = [(28, 28, 1), (8, 8, 1), (32, 32, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_initial_weights_are_as_declared(name: str, shape: tuple[int, ...]) -> None:
    spec = GanSpec(name, shape, 10)
    gan = spec.initial(np.random.default_rng(0))
    for arrays, template in (
        (gan.generator, spec.generator_template),
        (gan.discriminator, spec.discriminator_template),
    ):
        assert [a.shape for a in arrays] == [a.shape for a in template]
        assert all(a.dtype == np.float32 for a in arrays)
    payload = {"generator": gan.generator, "discriminator": gan.discriminator}
    sent = encode_payload(payload, spec.contents, WireFormat(Encoding(values=SHIPPED["int8"])))
    received = decode_payload({name: encoded.data for name, encoded in sent.items()}, spec.contents)
    for name, arrays in payload.items():
        for a, b in zip(arrays, received[name], strict=True):
            assert np.abs(a - b).max() <= np.abs(a).max() / 100


def test_compact_is_small_enough_to_send() -> None:
    """At most 100 kB when every weight is a byte, as it really is on the wire."""
    spec = GanSpec("compact", (28, 28, 1), 10)
    assert spec.parameters == sum(a.size for a in spec.generator_template) < 95_000
    content = {"generator": spec.contents["generator"]}
    payload = {"generator": spec.initial(np.random.default_rng(0)).generator}
    assert (
        len(encode_payload(payload, content, WireFormat(Encoding(values=SHIPPED["int8"])))["generator"].data) < 100_000
    )


def test_the_same_generator_gives_the_same_weights() -> None:
    spec = GanSpec("compact", (8, 8, 1), 10)
    first, again, other = (spec.initial(np.random.default_rng(seed)).generator for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_equal_specs_share_a_graph() -> None:
    assert GanSpec("compact", (8, 8, 1), 10) == GanSpec("compact", (8, 8, 1), 10)
    assert GanSpec("compact", (8, 8, 1), 10) != GanSpec("compact", (8, 8, 1), 9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compcat", (28, 28, 1), 10), "Unknown GAN 'compcat'. Did you mean 'compact'?"),
        (("compact", (64,), 10), "cannot make inputs of shape (64,); expected images (height, width, 1 or 3)"),
        (("compact", (28, 28, 2), 10), "cannot make inputs of shape (28, 28, 2)"),
        (("cgan", (30, 28, 1), 10), "height and width multiples of 4 from 8 to 32"),
        (("compact", (64, 64, 3), 10), "height and width multiples of 4 from 8 to 32"),
        (("compact", (28, 28, 1), 0), "has 0 classes; expected at least 1"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments: tuple[str, tuple[int, ...], int], message: str) -> None:
    with pytest.raises(InputError) as error:
        GanSpec(*arguments)
    assert message in str(error.value)


def test_importing_does_not_load_tensorflow() -> None:
    code = "import sys, fedcompress.generators.spec, fedcompress.generators.training\n"
    code += "import fedcompress.generators.quality\n"
    code += "from fedcompress.generators.spec import GanSpec; GanSpec('compact', (28, 28, 1), 10).parameters\n"
    code += "sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
