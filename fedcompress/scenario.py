"""The typed scenario: load, override, validate, write. Every key is documented where it is declared.

Structure only: what a strategy, client or compression accepts as its own parameters is validated by `experiment.py`,
which knows the plug-ins.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedcompress.errors import MOST_PROBLEMS, InputError, cut, located, shown, suggestion
from fedcompress.files import read_text


class Section(BaseModel):
    """A part of a scenario: frozen, unknown keys and wrong types refused (`"3"` or `true` is not a number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


def _held_by_a_file_name(name: str) -> str:
    if (size := len(name.encode())) > MOST_BYTES:
        raise ValueError(f"has {size} bytes of UTF-8; expected at most {MOST_BYTES}, so that a file name can hold it")
    return name


MOST_BYTES = 200
"""Of a name: with date and time, seed, digest or suffix, a file name of 255 bytes holds it."""
Name = Annotated[str, AfterValidator(_held_by_a_file_name)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Partition = Literal["iid", "dirichlet", "pathological", "shard", "quantity", "feature"]
Values = Literal["float32", "float16", "int8", "int4", "ternary", "clustered"]
MOST_RUNS = 10_000
"""Of a sweep or a recipe: every one of them is checked before the first one starts."""
PUBLIC_SOURCES = "gan, holdout (kept out of the training data), noise, or dataset:NAME"


class DataSettings(Section):
    """`[data]`: which examples there are and who holds them."""

    dataset: str = Field("mnist-5k", description="name of a data set, npz:FILE, or hf:NAME")
    classes: tuple[int, ...] | None = Field(None, strict=False, description="keep only these labels, as in [6, 9]")
    examples: Positive | None = Field(None, description="training examples that are used, drawn with their label mix")
    clients: Positive = Field(10, description="number of clients")
    partition: Partition = Field("iid", description="how examples are split over clients")
    alpha: float = Field(0.5, gt=0.0, description="concentration of dirichlet, quantity and feature; small is skewed")
    classes_per_client: Positive = Field(2, description="pathological: classes that a client holds")
    shards_per_client: Positive = Field(2, description="shard: shards that a client is dealt")
    balanced: bool = Field(
        False, description="dirichlet: balance the clients' sizes and draw again until each has the minimum"
    )
    minimum: Positive | None = Field(
        None, description="least examples of a client; default: 2, or if balanced half of the mean"
    )
    validation: Fraction = Field(0.1, description="fraction of each client's examples kept for its validation")
    server_validation: Fraction = Field(0.05, description="fraction of the training data held out for the server")

    @property
    def least(self) -> int | None:
        """Least examples of a client; None where it follows from the mean."""
        return 2 if self.minimum is None and not self.balanced else self.minimum


class PublicSettings(Section):
    """`[public]`: data that nobody owns, on which models teach each other. Keys after `examples` are for "gan"."""

    source: str = Field("gan", pattern=r"^(gan|holdout|noise|dataset:.+)$", description=PUBLIC_SOURCES)
    examples: Positive = Field(2000, description="examples that are drawn for a round")
    gan: Literal["compact", "cgan"] = Field("compact", description="size of the generator")
    epochs: Positive = Field(1, description="passes of a client's GAN over its own examples in a round")
    batch_size: Positive = Field(64, description="examples in a step of the GAN")
    train_rounds: int = Field(0, ge=0, description="rounds of GAN training, after which it is not sent again; 0: all")
    combine: Literal["average", "mixture"] = Field(
        "average", description="average the clients' generators, or draw from each of them in turn"
    )
    share_discriminator: bool = Field(True, description="average discriminators too; otherwise they stay with clients")
    guide: float = Field(0.0, ge=0.0, description="weight of the client's classifier in its generator's loss")
    confidence: Fraction = Field(0.0, description="least probability that the ensemble gives to a sample's label")
    buffer: Positive = Field(1, description="rounds whose samples the server keeps to distil on")
    quality_every: int = Field(0, ge=0, description="rounds between tests of the samples' quality; 0: at the end only")

    @property
    def generated(self) -> bool:
        """Whether clients train a generator."""
        return self.source == "gan"


class TrainingSettings(Section):
    """`[training]`: one local training of one client."""

    epochs: Positive = Field(1, description="passes over the client's examples in a round")
    batch_size: Positive = Field(32, description="examples in a step")
    optimizer: Literal["adam", "sgd", "momentum"] = Field("adam", description="its state starts anew in each round")
    learning_rate: float = Field(0.001, gt=0.0, description="constant within a round")
    learning_rate_decay: float = Field(1.0, gt=0.0, le=1.0, description="factor from one round to the next")


class ContentWire(Section):
    """`[wire.CONTENT]`: how one content becomes bytes; a key that is absent follows `[wire]`."""

    codec: Literal["dense", "sparse"] | None = Field(None, description="dense or sparse")
    values: Values | None = Field(None, description="type of a value on the wire")
    deflate: bool | None = Field(None, description="deflate the bytes where that makes them fewer")
    entropy: bool | None = Field(None, description="entropy code them where that makes fewer still")
    clusters: int | None = Field(None, ge=1, le=255, description="clustered: values in the codebook, beside zero")
    delta: bool | None = Field(None, description="send the difference to what the server sent last")
    top_k: Share | None = Field(None, description="delta: fraction of the values that crosses")
    feedback: bool | None = Field(None, description="delta: add what was left out to the next one")
    whole: Values | None = Field(None, description="delta: type of a value where the receiver holds none")
    downlink_values: Values | None = Field(None, description="values of what the server sends")
    downlink_top_k: Share | None = Field(None, description="top_k of what the server sends")


class WireSettings(Section):
    """`[wire]`: how contents become bytes, with a table per content for what differs."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, ContentWire]

    weights: Literal["dense", "sparse"] = Field("sparse", description="sparse: only what the mask keeps crosses")
    values: Values = Field(
        "float32",
        description="type of a value on the wire; ternary: a sign, a size per array; clustered: a codebook",
    )
    deflate: bool = Field(True, description="deflate the bytes where that makes them fewer")
    entropy: bool = Field(False, description="entropy code them (rANS) where that makes fewer still")
    clusters: int = Field(15, ge=1, le=255, description="clustered: values in the codebook, beside zero")
    delta: bool = Field(
        False,
        description="of models, send the difference to the weights that the server sent that client last; before the "
        "first, to the initial weights, which both ends make from the seed",
    )
    top_k: Share = Field(1.0, description="delta: fraction of the values that crosses, those of largest magnitude")
    feedback: bool = Field(False, description="delta: what one leaves out is added to the next (error feedback)")
    whole: Values = Field(
        "int8", description="delta: type of a value for a client that holds none but the initial weights"
    )
    downlink_values: Values | None = Field(None, description="values of what the server sends, where they differ")
    downlink_top_k: Share | None = Field(
        None, description="top_k of what the server sends, where it differs; times the rounds that a client was away"
    )

    @property
    def contents(self) -> dict[str, ContentWire]:
        """The tables per content."""
        return self.__pydantic_extra__


class ServerSettings(Section):
    """`[server]`: the server strategy and its cohort."""

    strategy: str = Field("fedavg", description="name of a server strategy")
    model: str | None = Field(None, description="the server's own model, for strategies that have one")
    cohort: Share = Field(1.0, description="fraction of the clients that take part in a round")
    minimum_replies: Positive = Field(1, description="with fewer good replies in a round the run stops, resumable")
    implausible: float = Field(
        1000.0,
        ge=0.0,
        description="a reply is refused that changes a content by more than so many times the median of at least three "
        "replies, and by more than ten times its size; 0: none is",
    )
    timeout: float | None = Field(None, gt=0.0, description="seconds that a client may take for one action")
    deadline: float | None = Field(
        None, gt=0.0, description="seconds that an action may take on a group's device; later contributions are dropped"
    )
    params: dict[str, Any] = Field(default_factory=dict, description="the strategy's own parameters")

    @model_validator(mode="after")
    def _most_replies_are_plausible(self) -> Self:
        if 0 < self.implausible <= 1:
            raise ValueError(
                f"implausible: received {self.implausible:g}, expected more than 1, or 0 to refuse nothing"
            )
        return self

    def cohort_of(self, clients: int) -> int:
        """Returns how many of so many clients take part in a round: the fraction of them, at least one."""
        return max(1, round(self.cohort * clients))


class GroupSettings(Section):
    """`[[groups]]`: clients that are alike in model, strategy and compression."""

    name: Name = Field("all", min_length=1, pattern=r"^[\w-]+$", description="letters, digits, - and _")
    share: Share = Field(1.0, description="fraction of the clients; shares sum to 1")
    model: str = Field("small-cnn", description="name of a model")
    client: str = Field("sgd", description="name of a client strategy")
    compression: str = Field("none", description="name of a compression")
    sparsity: Fraction = Field(0.0, description="fraction of zeros that the compression aims at")
    device: str | None = Field(None, description="what its clients run on, for modelled time and energy")
    bits: int = Field(32, ge=1, le=32, description="bits of a weight that the compression trains with; 32 is float")
    params: dict[str, Any] = Field(default_factory=dict, description="the client strategy's own parameters")
    compression_params: dict[str, Any] = Field(default_factory=dict, description="the compression's own parameters")


class EvaluationSettings(Section):
    """`[evaluation]`: what is measured besides the global model, which is tested after every round."""

    clients_every: int = Field(
        0, ge=0, description="rounds between tests of every trained client model on its own distribution; 0: never"
    )
    own_every: Positive = Field(
        1, description="rounds between tests, on the whole test set, of clients' own models where they have such"
    )
    tflite: bool = Field(True, description="convert the final models to TFLite; it changes no result")


class StopSettings(Section):
    """`[stop]`: what ends a run before its last round. Accuracy is that on the server's validation data, never on the
    test set, and counts from the round on in which every group is at its full sparsity."""

    patience: Positive | None = Field(None, description="rounds without a gain of min_delta in accuracy")
    min_delta: Fraction = Field(0.001, description="a smaller gain counts as none")
    target: Share | None = Field(None, description="accuracy that is enough")
    bytes: Positive | None = Field(None, description="in both directions; the round that reaches it is the last")
    seconds: float | None = Field(None, gt=0.0, description="of rounds, by the clock: the one key that does not repeat")
    modelled_seconds: float | None = Field(None, gt=0.0, description="of rounds on the groups' devices; it repeats")

    @model_validator(mode="after")
    def _something(self) -> Self:
        keys = [key for key in StopSettings.model_fields if key != "min_delta"]
        if all(getattr(self, key) is None for key in keys):
            raise ValueError(f"is empty; give at least one of {', '.join(keys)}")
        return self


class DeviceSettings(Section):
    """`[devices.NAME]`: what is assumed of a device."""

    multiply_adds_per_second: float = Field(gt=0.0, description="that training sustains, float32")
    downlink_bits_per_second: float = Field(gt=0.0, description="to the device")
    uplink_bits_per_second: float = Field(gt=0.0, description="from the device")
    compute_watts: float = Field(0.0, ge=0.0, description="drawn while computing, above idling")
    downlink_watts: float = Field(0.0, ge=0.0, description="drawn while receiving")
    uplink_watts: float = Field(0.0, ge=0.0, description="drawn while sending")
    spread: float = Field(0.0, ge=0.0, description="of stragglers: deviation of the logarithm of their factor on time")
    dropout: Fraction = Field(0.0, description="probability that a client is gone before the end of a round")


class TrackingSettings(Section):
    """`[tracking]`: where a run's scalars go besides its directory; it changes no result."""

    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = Field(
        (), strict=False, description="any of tensorboard, wandb, mlflow; each is an extra of the same name"
    )
    project: str = Field("fedcompress", min_length=1, description="project in W&B, experiment in MLflow")
    online: bool = Field(False, description="wandb: upload; otherwise it writes files, and nothing leaves the machine")
    mlflow_uri: str | None = Field(None, description="of a tracking server; default: a file in the run directory")


class Variant(Section):
    """`[[sweep.variants]]`: a named set of overrides."""

    name: Name = Field(min_length=1, pattern=r"^[^/\\\x00-\x1f]+$")  # part of the name of a directory
    set: dict[str, Any] = Field(default_factory=dict, description="keys as for --set")


class SweepSettings(Section):
    """`[sweep]`: every variant with every seed is a run of its own."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((1,), min_length=1, strict=False)
    variants: tuple[Variant, ...] = Field((Variant(name="base"),), min_length=1, strict=False)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if (runs := len(self.variants) * len(self.seeds)) > MOST_RUNS:
            raise ValueError(f"{runs:,} runs are more than a sweep may have, {MOST_RUNS:,}; use several sweeps")
        names = [variant.name.replace(" ", "-") for variant in self.variants]
        if len(set(names)) < len(names) or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("names of variants and seeds have to differ from each other")
        if taken := [key for v in self.variants for key in v.set if key.split(".")[0] in ("seed", "sweep")]:
            raise ValueError(f"a variant cannot set {', '.join(taken)}; use sweep.seeds for seeds")
        return self


class Scenario(Section):
    """A whole experiment; `Scenario.load` reads it from a file."""

    name: Name = Field(min_length=1, pattern=r"^[\w. -]+$", description="letters, digits, space, . - and _")
    rounds: Positive = Field(10, description="federated rounds")
    seed: int = Field(1, ge=0, description="every random number derives from it")
    data: DataSettings = Field(default_factory=DataSettings)
    public: PublicSettings | None = None
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    wire: WireSettings = Field(default_factory=WireSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
    groups: tuple[GroupSettings, ...] = Field((GroupSettings(),), min_length=1, strict=False)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    stop: StopSettings | None = None
    devices: dict[str, DeviceSettings] = Field(default_factory=dict, description="devices besides those that ship")
    tracking: TrackingSettings | None = None
    sweep: SweepSettings | None = None

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        names = [group.name for group in self.groups]
        if len(set(names)) < len(names):
            raise ValueError(f"groups: names have to differ, received {cut(', '.join(names), 200)}")
        total = sum(group.share for group in self.groups)
        if abs(total - 1.0) > 1e-6:
            shares = cut(" + ".join(f"{group.share:g}" for group in self.groups), 200)
            raise ValueError(f"groups: shares have to sum to 1, received {shares} = {total:g}")
        return self

    @model_validator(mode="after")
    def _balance_is_of_dirichlet(self) -> Self:
        if self.data.balanced and self.data.partition != "dirichlet":
            raise ValueError(
                f'data.balanced: is for partition = "dirichlet", but data.partition is "{self.data.partition}"'
            )
        return self

    @model_validator(mode="after")
    def _cohorts_are_large_enough(self) -> Self:
        server, clients = self.server, self.data.clients
        if server.minimum_replies > server.cohort_of(clients):
            raise ValueError(
                f"server.minimum_replies: received {server.minimum_replies}, but a round's cohort has "
                f"{server.cohort_of(clients)} of {clients} clients (server.cohort is {server.cohort:g}); lower it"
            )
        return self

    @model_validator(mode="after")
    def _criteria_can_be_judged(self) -> Self:
        stop = self.stop
        if stop and (stop.patience or stop.target) and not self.data.server_validation:
            raise ValueError("stop: patience and target need validation data, but data.server_validation is 0")
        if all(group.device is None for group in self.groups):
            for key, value in (
                ("server.deadline", self.server.deadline),
                ("stop.modelled_seconds", stop and stop.modelled_seconds),
            ):
                if value is not None:
                    raise ValueError(f"{key}: is for modelled devices, but no group has a device")
        return self

    @classmethod
    def parse(cls, table: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Scenario:
        """Validates a nested table, after setting `overrides` (dotted key -> value) in it.

        Raises:
            InputError: One problem per line: the key, what was received, what is expected.
        """
        return validated(cls, overridden(table, overrides or {}))

    @classmethod
    def load(cls, path: Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
        """Reads a TOML file; see `parse`."""
        return cls.parse(read_toml(path), overrides)

    def table(self) -> dict[str, Any]:
        """Returns the scenario as a nested table with every default written out."""
        return self.model_dump(mode="json", exclude_none=True)

    def toml(self) -> str:
        """Returns the scenario as TOML, every default written out."""
        return tomli_w.dumps(self.table())

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides the result."""
        return sha256(tomli_w.dumps(deciding(self.table())).encode()).hexdigest()

    def runs(self) -> list[tuple[str, Scenario]]:
        """Returns the runs of a sweep as (name of the run, scenario without sweep), variants outer, seeds inner."""
        if self.sweep is None:
            return [(self.name, self)]
        base = self.table()
        del base["sweep"]
        return [
            (f"{variant.name} seed {seed}", _variant(base, variant, seed))
            for variant in self.sweep.variants
            for seed in self.sweep.seeds
        ]


def deciding(table: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a scenario's table, of whatever version, without what decides no result: trackers and TFLite files."""
    kept = {key: value for key, value in table.items() if key != "tracking"}
    if isinstance(evaluation := kept.get("evaluation"), Mapping):
        kept["evaluation"] = {key: value for key, value in evaluation.items() if key != "tflite"}
    return kept


def _variant(base: Mapping[str, Any], variant: Variant, seed: int) -> Scenario:
    with located(f"sweep variant {variant.name!r}"):
        return Scenario.parse(base, {**variant.set, "seed": seed})


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file, with one clear error if that is not possible."""
    try:
        text = read_text(path, "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}. Expected a TOML scenario.") from None
    try:
        return _parsed(text)
    except ValueError as error:
        raise InputError(f"{path}: is not valid TOML: {error}.") from None


def parse_assignment(text: str) -> tuple[str, Any]:
    """Splits `KEY=VALUE`; the value is TOML, and a bare word is a string.

    >>> parse_assignment("training.epochs=3")
    ('training.epochs', 3)
    """
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise InputError(f"--set {text}: expected KEY=VALUE, for example --set training.epochs=3.")
    try:
        parsed = _parsed(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    except ValueError as error:
        raise InputError(f"--set {key.strip()}: {error}.") from None
    return key.strip(), parsed


def _parsed(text: str) -> dict[str, Any]:
    """Parses TOML, within what every reader of TOML has to take.

    Raises:
        ValueError: It is no TOML, or is nested too deeply, or has an integer of more than 128 bits.
    """
    if _dotted(text):
        raise ValueError(_DEEP)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError(_DEEP) from None
    except ValueError:  # more digits than Python turns into an integer
        raise ValueError(_LARGE) from None
    if problem := beyond_toml(table):
        raise ValueError(problem)
    return table


MOST_DEPTH = 64
"""Tables and lists within each other: far more than a scenario needs, and few enough for whoever walks through them."""
_DEEP = f"it is nested more than {MOST_DEPTH} deep"
_BETWEEN_KEYS = re.compile(r"[\n,=\[\]{}]")
_LARGE = "an integer has more than 128 bits"


def _dotted(text: str) -> bool:
    """Says whether a key has so many parts that reading it would take minutes: the parser's time is quadratic there."""
    parts = 0
    for piece in text.split("."):
        parts = 0 if _BETWEEN_KEYS.search(piece) else parts + 1
        if parts > 16 * MOST_DEPTH:
            return True
    return False


def beyond_toml(value: Any) -> str | None:
    """Returns in what nested values are beyond what is taken of TOML, or None."""
    waiting = [(value, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MOST_DEPTH:
            return _DEEP
        if isinstance(node, int) and not -(2**127) <= node < 2**127:
            return _LARGE
        inner = node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ()
        waiting += ((item, depth + 1) for item in inner)
    return None


def overridden(table: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a nested table with overrides (dotted key -> value) set in it.

    Raises:
        InputError: A key leads nowhere, or something is beyond what is taken of TOML.
    """
    for key, value in {"": table, **overrides}.items():
        if problem := _DEEP if key.count(".") > MOST_DEPTH else beyond_toml(value):
            raise InputError(f"{cut(key, 100)}: {problem}." if key else f"{problem}.")
    nested: dict[str, Any] = copied(table)
    for key, value in overrides.items():
        override(nested, key, value)
    return nested


def copied(value: Any) -> Any:
    """Returns a copy of nested tables and lists, tuples as lists."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list | tuple) else value


def override(table: dict[str, Any], key: str, value: Any) -> None:
    """Sets one dotted key; a group is addressed by its name: `groups.phone.sparsity`."""
    *parents, last = key.split(".")
    node: Any = table
    for depth, part in enumerate(parents):
        if isinstance(node, list):
            named = [item for item in node if isinstance(item, dict) and item.get("name") == part]
            if not named:
                names = [str(item.get("name")) for item in node if isinstance(item, dict)]
                what = ".".join(parents[:depth]).removesuffix("s")
                raise InputError(f"{key}: no {what} is named {part!r}.{suggestion(part, names)}")
            node = named[0]
        else:
            node = node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise InputError(f"{key}: {'.'.join(parents[: depth + 1])} is a value, not a table.")
    if isinstance(node, list):
        what = parents[-1]
        raise InputError(f"{key}: name a {what.removesuffix('s')} and a key, for example {what}.NAME.{last}=VALUE.")
    node[last] = value


EXPECTED = {
    "tuple_type": "expected a list, as in [6, 9]",
    "dict_type": "expected a table",
    "model_type": "expected a table",
}
"""What pydantic says in the words of Python, in those of TOML."""


Kind = TypeVar("Kind", bound=Section)


def validated(kind: type[Kind], table: Mapping[str, Any]) -> Kind:
    """Returns a table as a section.

    Raises:
        InputError: One problem per line: the key, what was received, what is expected.
    """
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        # pydantic counts only the valid items of a list; the invalid ones have messages of their own
        found = [e for e in error.errors(include_url=False) if not (e["type"] == "too_short" and e["input"])]
        first = list(_problems(found[:MOST_PROBLEMS], table, kind))
        raise InputError(first, further=len(found) - len(first)) from None


def _problems(errors: Iterable[Any], table: Mapping[str, Any], kind: type[Section]) -> Iterable[str]:
    for item in errors:
        where = _location(item["loc"], table)
        if item["type"] == "extra_forbidden":
            yield f"{where}: unknown key.{suggestion(str(item['loc'][-1]), _known_keys(item['loc'], kind))}"
        elif item["type"] == "missing":
            yield f"{where}: is missing."
        elif item["type"] == "value_error":
            prefix = f"{where}: " if where else ""
            yield f"{prefix}{str(item['msg']).removeprefix('Value error, ')}."
        elif item["type"] == "model_type" and item["loc"][0] == "wire":
            known = list(WireSettings.model_fields)
            yield f"{where}: unknown key, or a table for a content is meant.{suggestion(str(item['loc'][-1]), known)}"
        elif item["type"] == "literal_error":
            known = re.findall(r"'([^']*)'", str(item["ctx"]["expected"]))
            yield f"{where}: unknown value {shown(item['input'])}.{suggestion(str(item['input']), known)}"
        else:
            expected = EXPECTED.get(item["type"], f"{str(item['msg'])[:1].lower()}{str(item['msg'])[1:]}")
            yield f"{where}: received {shown(item['input'])}; {expected}."


def _location(loc: tuple[int | str, ...], table: Mapping[str, Any]) -> str:
    """Names the place as a user writes it: groups by name, not by number."""
    parts: list[str] = []
    node: Any = table
    for part in loc:
        node = (
            node[part]
            if isinstance(node, list) and isinstance(part, int) and part < len(node)
            else (node.get(part) if isinstance(node, Mapping) else None)
        )
        named = isinstance(part, int) and isinstance(node, Mapping) and "name" in node
        parts.append(str(node["name"]) if named else str(part))
    return ".".join(parts)


def _known_keys(loc: tuple[int | str, ...], kind: type[Section]) -> list[str]:
    """Returns the keys that are known where an unknown one was found."""
    model: Any = kind
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            model = ContentWire
            continue
        model = _section(field.annotation)
    return list(model.model_fields)


def _section(annotation: Any) -> Any:
    """Returns the section class inside an annotation such as `tuple[GroupSettings, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section(inner)
        if found is not Section:
            return found
    return Section
