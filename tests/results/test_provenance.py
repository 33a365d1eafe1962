"""What a run was made with."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from fedcompress import environment, keras
from fedcompress.results.run import provenance


@pytest.mark.parametrize(
    ("written", "vectors"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx avx2 avx512f\nbugs\t: avx\n", " with AVX-512"),
        ("flags\t\t: fpu avx avx2\nprocessor\t: 1\nflags\t\t: fpu avx avx2 avx512f\n", " with AVX2"),
        ("flags\t\t: fpu sse2\nbugs\t: avx2\n", ""),
        ("Features\t: fp asimd\n", ""),
        (None, ""),
    ],
)
def test_the_widest_vectors_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str | None, vectors: str
) -> None:
    """Runs of one scenario end with other bits where they differ."""
    if written is not None:
        (tmp_path / "cpuinfo").write_text(written)
    monkeypatch.setattr(provenance, "_CPUINFO", tmp_path / "cpuinfo")
    made = provenance.provenance_of("", "", {}, [])
    assert made["machine"]["processor"] == platform.machine() + vectors
    if environment.ONEDNN in environment.VARIABLES:
        monkeypatch.setattr(keras, "by_onednn", lambda: False)
        without = provenance.provenance_of("", "", {}, [])
        assert without["machine"]["processor"] == platform.machine() + vectors + " without oneDNN"
