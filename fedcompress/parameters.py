"""A plug-in's own parameters: the base class that declares them, and what is wrong with those that a user wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fedcompress.errors import MOST_PROBLEMS, prepared, shown, suggestion


class Params(BaseModel):
    """Base of all parameter classes: frozen, unknown keys and values of another type refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


def checked_params(kind: type[BaseModel], values: Mapping[str, Any], where: str, problems: list[str]) -> Any:
    """Returns a plug-in's parameters; where they are wrong, None, and a line for each key is added to `problems`.

    Args:
        kind: The plug-in's `Params`.
        values: As a user wrote them.
        where: What messages begin with: "server.params".
        problems: Gets what is wrong.

    Raises:
        InputError: The class itself fails.
    """
    with prepared(where):
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            problems += _problems(error, kind, where)
            return None


def _problems(error: ValidationError, kind: type[BaseModel], where: str) -> Iterable[str]:
    errors = error.errors(include_url=False)
    for item in errors[:MOST_PROBLEMS]:
        key = ".".join([where, *map(str, item["loc"])])
        if item["type"] == "extra_forbidden":
            known = suggestion(str(item["loc"][-1]), kind.model_fields) or " There are none."
            yield f"{key}: unknown parameter.{known}"
        elif item["type"] == "missing":
            yield f"{key}: is missing; {kind.model_fields[str(item['loc'][0])].description}."
        else:
            message = str(item["msg"]).removeprefix("Value error, ").replace("Input should", "input should").rstrip(".")
            yield f"{key}: received {shown(item['input'])}; {message}{'' if message.endswith('?') else '.'}"
    if len(errors) > MOST_PROBLEMS:
        yield f"{where}: {len(errors) - MOST_PROBLEMS:,} more problems."
