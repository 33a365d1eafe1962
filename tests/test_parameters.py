"""A plug-in's parameters: what is wrong with the class itself is said of the class."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import field_validator

from fedcompress.errors import InputError
from fedcompress.parameters import Params, checked_params


class Failing(Params):
    """Has a validator that fails in a way that is none of pydantic's."""

    size: int = 0

    @field_validator("size")
    @classmethod
    def _checked(cls, size: int) -> int:
        raise KeyError(size)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Failing, "KeyError: 3. Raised at test_parameters.py:22."),
        (dict, "AttributeError: type object 'dict' has no attribute 'model_validate'."),
    ],
)
def test_parameters_that_cannot_be_checked_are_an_error_of_the_plug_in(kind: Any, reason: str) -> None:
    problems: list[str] = []
    with pytest.raises(InputError) as caught:
        checked_params(kind, {"size": 3}, "server.params", problems)
    assert str(caught.value) == f"server.params: cannot be prepared: {reason}"
    assert problems == []
