"""Payloads: named contents, encoded together so that a mask goes before what it masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from fedcompress.errors import InputError, PayloadError, suggestion
from fedcompress.scenario.sections import VALUE_TYPE_KEYS, WireSettings
from fedcompress.wire import codec, symbols
from fedcompress.wire.codec import Encoded, Encoding
from fedcompress.wire.content import Arrays, Content, Payload
from fedcompress.wire.references import Contents, References
from fedcompress.wire.shipped import EXACT, SHIPPED
from fedcompress.wire.value_type import Floats, ValueType

_CROWDED: Final = 0.5
"""Share of the values from which on a difference is sent whole: positions and signs then cost as much."""


@dataclass(frozen=True)
class WireFormat:
    """The `[wire]` section of a scenario, resolved.

    Attributes:
        default: For every content.
        per_content: Fields of `Encoding` that differ, by content name: `{"logits": {"values": "int8"}}`.
    """

    default: Encoding = field(default_factory=Encoding)
    per_content: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: WireSettings, value_type: Callable[[str], ValueType]) -> WireFormat:
        """Returns the wire format of a scenario.

        Args:
            settings: `[wire]`.
            value_type: Returns the value type that a name stands for.

        Raises:
            InputError: A combination makes no sense.
        """
        plain = settings.model_dump(exclude=set(settings.contents))
        tables = {name: table.model_dump(exclude_none=True) for name, table in settings.contents.items()}
        for table in (plain, *tables.values()):
            table |= {key: value_type(table[key]) for key in VALUE_TYPE_KEYS if table.get(key) is not None}
        return cls(Encoding(codec=plain.pop("weights"), **plain), tables)

    def __post_init__(self) -> None:
        known = [f.name for f in fields(Encoding)]
        for name, settings in self.per_content.items():
            for key in settings:
                if key not in known:
                    raise InputError(f"The wire format of {name} has the key {key!r}.{suggestion(key, known)}")
            replace(self.default, **settings)  # refuses wrong settings now, not in a round
        if problems := list(self._problems()):
            raise InputError(problems)

    @property
    def _value_types(self) -> list[ValueType]:
        """All that are named, each once."""
        tables = [vars(self.default), *self.per_content.values()]
        named = [table.get(key) for table in tables for key in VALUE_TYPE_KEYS]
        return list(dict.fromkeys(values for values in named if values is not None))

    def _problems(self) -> Iterable[str]:
        names: dict[str, ValueType] = dict(SHIPPED)
        for values in self._value_types:
            if values.code is None:
                name = str(values) or type(values).__name__
                yield from (f"wire: value type {name}: {problem}." for problem in symbols.problems(values))
                if names.setdefault(str(values), values) != values:
                    yield f"wire: two value types call themselves {values}; a stream tells them by their names."
        defaults = set(self.default.problems())
        for problem in self.default.problems():
            yield f"wire: {problem}."
        for name, settings in self.per_content.items():
            for problem in replace(self.default, **settings).problems():
                if problem not in defaults:
                    yield f"wire.{name}: {problem}."

    def encoding(self, name: str, content: Content) -> Encoding:
        """Returns the encoding of a content: one that is lossless is float32, and one that is compressed as it says,
        unless its own settings say otherwise.

        What only differences can have is for contents that are declared for them.
        """
        encoding = replace(self.default, values=EXACT, downlink_values=None) if content.lossless else self.default
        if content.compressed is not None:
            encoding = replace(encoding, codec="sparse", values=content.compressed, downlink_values=None)
        encoding = replace(encoding, **self.per_content.get(name, {}))
        if content.delta:
            return encoding
        down = encoding.downlink_values
        return replace(
            encoding,
            delta=False,
            feedback=False,
            top_k=1.0,
            downlink_top_k=None,
            values=encoding.whole if encoding.values.few else encoding.values,
            downlink_values=encoding.whole if down is not None and down.few else down,
        )

    def declared(self, contents: Contents) -> dict[str, Content]:
        """Returns the declarations as this format uses them: differences, and value types, only where it says so."""
        return {name: self._declared(content, self.encoding(name, content)) for name, content in contents.items()}

    @staticmethod
    def _declared(content: Content, encoding: Encoding) -> Content:
        delta = content.delta and encoding.delta
        used = (encoding.values, encoding.downlink_values or encoding.values, *([encoding.whole] if delta else []))
        return replace(content, delta=delta, value_types=tuple(dict.fromkeys(used)) if content.lossy else (EXACT,))

    def unsupported(self, contents: Contents) -> list[str]:
        """Returns settings of contents that cannot have them."""
        able = [name for name, content in contents.items() if content.delta]
        return [
            f"wire.{name}.{key}: only {', '.join(able) or 'no content of this federation'} can be sent as differences."
            for name in sorted(self.per_content.keys() & contents.keys() - set(able))
            for key in ("delta", "feedback", "top_k", "downlink_top_k")
            if (set_to := self.per_content[name].get(key)) is True or (set_to or 1.0) < 1.0
        ]

    def on_link(self, name: str, content: Content, references: References, generation: int | None) -> Encoding:
        """Returns how a content crosses one link.

        A receiver that holds only what both ends make from the seed gets the difference to that whole. One that missed
        s rounds gets s + 1 times the values that one gets that was there.

        Args:
            name: The content's name.
            content: The declaration.
            references: What both ends hold.
            generation: Number of the round if the server sends, None if a client does.
        """
        encoding = self.encoding(name, content)
        if generation is not None:
            values = encoding.downlink_values or encoding.values
            encoding = replace(encoding, values=values, top_k=encoding.downlink_share)
        if not content.delta:
            return encoding
        base = references.bases.get(name)
        behind = 1 if generation is None or base is None else max(1, generation - base.generation)
        share = encoding.top_k if encoding.top_k == 1 else encoding.top_k * behind
        if base is None or base.generation == 0 or (share != encoding.top_k and share >= _CROWDED):
            return replace(encoding, values=encoding.whole, top_k=1.0)
        return replace(encoding, top_k=share)


def encode_payload(
    payload: Payload,
    contents: Contents,
    wire: WireFormat,
    references: References | None = None,
    *,
    generation: int | None = None,
    residuals: Mapping[str, Floats] | None = None,
) -> dict[str, Encoded]:
    """Encodes a payload.

    Args:
        payload: Arrays of every declared content.
        contents: Their declarations.
        wire: How each becomes bytes.
        references: What the receiver holds too; None for nothing.
        generation: Number of the round for what the server sends; None for what a client sends.
        residuals: What earlier differences of a client have left out; see `Encoded.error`.

    Returns:
        One `Encoded` per content, in the order of `contents`. Both ends go on with the arrays in it.

    Raises:
        PayloadError: The payload is not what is declared.
    """
    references = references or References()
    encoded: dict[str, Encoded] = {}
    for name, content in _masks_first(payload, contents):
        encoding = wire.on_link(name, content, references, generation)
        item = codec.encode(
            payload[name],
            content,
            encoding,
            mask=encoded[content.mask].arrays if content.mask else None,
            reference=references.reference(name, content),
            digest=references.bases[name].digest if content.delta and name in references.bases else None,
            residual=(residuals or {}).get(name) if encoding.feedback else None,
            constants=references.constants(name, content),
            name=name,
        )
        item = item if encoding.feedback and generation is None else replace(item, error=None)
        encoded[name] = references.shorten(item, name, content)
    return {name: encoded[name] for name in contents}


def decode_payload(
    blobs: Mapping[str, bytes], contents: Contents, references: References | None = None
) -> dict[str, Arrays]:
    """Decodes a payload: the arrays of what `read_payload` returns."""
    return {name: item.arrays for name, item in read_payload(blobs, contents, references).items()}


def read_payload(
    blobs: Mapping[str, bytes],
    contents: Contents,
    references: References | None = None,
    known: Mapping[str, Encoded] | None = None,
) -> dict[str, Encoded]:
    """Decodes and measures a payload; nothing of it is returned unless all of it is as declared.

    Args:
        blobs: What was received, by content.
        contents: What this end expects.
        references: What it holds from earlier payloads; None for nothing.
        known: What some of the bytes were encoded from, so that they need not be decoded: a sender in this process may
            hand it over. Its arrays are not to be changed.

    Returns:
        What the sender's `encode_payload` returned.

    Raises:
        PayloadError: A content is missing, not declared, or does not decode.
    """
    references = references or References()
    encoded: dict[str, Encoded] = {}
    for name, content in _masks_first(blobs, contents):
        if known and name in known:
            encoded[name] = known[name]
            continue
        encoded[name] = references.recall(blobs[name], name, content) or codec.read(
            blobs[name],
            content,
            mask=encoded[content.mask].arrays if content.mask else None,
            reference=references.reference(name, content),
            digest=references.bases[name].digest if content.delta and name in references.bases else None,
            constants=references.constants(name, content),
            name=name,
        )
    return {name: encoded[name] for name in contents}


def _masks_first(received: Mapping[str, Any], contents: Contents) -> Iterable[tuple[str, Content]]:
    """Checks the names; returns the declared contents, those without a mask first."""
    problems = [f"{name} is not declared" for name in received if name not in contents]
    problems += [f"{name} is missing" for name in contents if name not in received]
    problems += [
        f"the mask of {name}, {content.mask}, is not declared as a mask"
        for name, content in contents.items()
        if content.mask and not (content.mask in contents and contents[content.mask].is_mask)
    ]
    if problems:
        expected, got = (", ".join(names) or "nothing" for names in (contents, received))
        raise PayloadError(f"In a payload {'; '.join(problems)}. Expected {expected}; received {got}.")
    return sorted(contents.items(), key=lambda item: item[1].mask is not None)


def present(names: Iterable[str], contents: Contents) -> dict[str, Content]:
    """Returns the declarations of what a payload holds; a content whose mask is not with it travels unmasked.

    Raises:
        PayloadError: A name is not declared.
    """
    sent = set(names)
    if unknown := sorted(sent - contents.keys()):
        raise PayloadError(f"{', '.join(unknown)} is not declared; known are {', '.join(contents) or 'none'}.")
    return {
        name: content if content.mask is None or content.mask in sent else content.unmasked
        for name, content in contents.items()
        if name in sent
    }
