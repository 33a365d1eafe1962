"""The sections of a scenario: every key is documented where it is declared.

Structure only: what a strategy, client or compression accepts as its own parameters is validated by those who know the
plug-ins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from fedcompress.judged import JudgedName
from fedcompress.scenario.grid import with_grid


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
MOST_RUNS = 10_000
"""Of a sweep or a recipe: every one of them is checked before the first one starts."""


class DataSettings(Section):
    """`[data]`: which examples there are and who holds them."""

    dataset: str = Field(
        "mnist-5k", description="name of a data set, csv:FILE, parquet:FILE, npz:FILE, folder:DIR, or hf:NAME"
    )
    classes: tuple[int, ...] | None = Field(None, strict=False, description="keep only these labels, as in [6, 9]")
    examples: Positive | None = Field(None, description="training examples that are used, drawn with their label mix")
    clients: Positive = Field(10, description="number of clients")
    seed: int | None = Field(
        None,
        ge=0,
        description="of what is drawn before training: which examples there are, who holds them, who is in which group "
        "and what each client is tested on; default: the scenario's seed",
    )
    partition: str = Field("iid", description="name of a partition: how examples are split over clients")
    partition_params: dict[str, Any] = Field(default_factory=dict, description="the partition's own parameters")
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
    normalise: Literal["none", "train", "published"] = Field(
        "none",
        description="inputs of models, by mean and standard deviation of each channel: of all training data, or as "
        "published (cifar10, cifar100); it becomes a part of each model",
    )

    def least(self, examples: int) -> int:
        """Returns the fewest examples that a client may get, where so many are divided."""
        if self.minimum is not None:
            return self.minimum
        return -(-examples // (2 * self.clients)) if self.balanced else 2


class TrainingSettings(Section):
    """`[training]`: one local training of one client."""

    epochs: Positive = Field(1, description="passes over the client's examples in a round")
    batch_size: Positive = Field(32, description="examples in a step")
    optimizer: Literal["adam", "sgd", "momentum"] = Field("adam", description="its state starts anew in each round")
    learning_rate: float = Field(0.001, gt=0.0, description="constant within a round")
    learning_rate_decay: float = Field(1.0, gt=0.0, le=1.0, description="factor from one round to the next")
    precision: Literal["float32", "mixed"] = Field(
        "float32",
        description="what layers compute in; mixed: bfloat16, or on a GPU that lacks it (before Ampere) float16 with a "
        "scaled loss. Weights, their updates and the wire stay float32, and so does whatever is no training",
    )


class AugmentationSettings(Section):
    """`[augmentation]`: what a client's images go through before each step of its training, each time drawn anew.
    Whatever else sees an image, a teacher say, sees it as it is; border and holes are black."""

    crop: int = Field(0, ge=0, description="pixels on each side by which an image is extended before it is cropped")
    flip: bool = Field(False, description="mirror left and right, every other time")
    cutout: int = Field(0, ge=0, description="side of a square that is cut out around a pixel, in pixels")

    @property
    def any(self) -> bool:
        """Whether anything is done."""
        return bool(self.crop or self.flip or self.cutout)


class ContentWire(Section):
    """`[wire.CONTENT]`: how one content becomes bytes; a key that is absent follows `[wire]`."""

    codec: Literal["dense", "sparse"] | None = Field(None, description="dense or sparse")
    values: str | None = Field(None, description="type of a value on the wire")
    deflate: bool | None = Field(None, description="deflate the bytes where that makes them fewer")
    entropy: bool | None = Field(None, description="entropy code them where that makes fewer still")
    clusters: int | None = Field(None, ge=1, le=255, description="clustered: values in the codebook, beside zero")
    delta: bool | None = Field(None, description="send the difference to what the server sent last")
    top_k: Share | None = Field(None, description="delta: fraction of the values that crosses")
    feedback: bool | None = Field(None, description="delta: add what was left out to the next one")
    whole: str | None = Field(None, description="delta: type of a value where the receiver holds none")
    downlink_values: str | None = Field(None, description="values of what the server sends")
    downlink_top_k: Share | None = Field(None, description="top_k of what the server sends")


VALUE_TYPE_KEYS = ("values", "whole", "downlink_values")
"""Of `[wire]` and its tables: those that name a value type."""


class WireSettings(Section):
    """`[wire]`: how contents become bytes, with a table per content for what differs."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, ContentWire]

    weights: Literal["dense", "sparse"] = Field("sparse", description="sparse: only what the mask keeps crosses")
    values: str = Field(
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
    whole: str = Field(
        "int8", description="delta: type of a value for a client that holds none but the initial weights"
    )
    downlink_values: str | None = Field(None, description="values of what the server sends, where they differ")
    downlink_top_k: Share | None = Field(
        None, description="top_k of what the server sends, where it differs; times the rounds that a client was away"
    )

    @property
    def contents(self) -> dict[str, ContentWire]:
        """The tables per content."""
        return self.__pydantic_extra__

    @property
    def value_types(self) -> dict[str, str]:
        """Key of the scenario -> name of the value type that it sets."""
        tables: dict[str, Section] = {"wire": self, **{f"wire.{name}": table for name, table in self.contents.items()}}
        named = {f"{where}.{key}": getattr(table, key) for where, table in tables.items() for key in VALUE_TYPE_KEYS}
        return {where: name for where, name in named.items() if name is not None}


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
    """`[evaluation]`: what is measured besides the global model, which is tested after every round, and when. What is
    measured every so many rounds is measured after the last one, too."""

    judged: JudgedName = Field(
        "deployed",
        description="by which accuracy a run is judged in verdicts, plots, tables and early stop: deployed is that of "
        "what devices run; global, of the global model; own, of the models that clients keep (if none keeps one, of "
        "what devices run), each on its own distribution; personal, of what devices run after one more local epoch, "
        "each on its client's own distribution",
    )
    deployed_every: Positive | None = Field(
        None,
        description="rounds between tests of what devices run; default: 1 if that is estimated to cost at most a tenth "
        "of a round, otherwise 5",
    )
    personal_every: int = Field(
        0,
        ge=0,
        description="rounds between tests of what devices run after one more local epoch, each on its client's own "
        "distribution; it is measured, not exchanged; 0: never",
    )

    clients_every: int = Field(
        0, ge=0, description="rounds between tests of every trained client model on its own distribution; 0: never"
    )
    own_every: Positive = Field(
        1, description="rounds between tests of clients' own models, where they have such or are judged by them"
    )
    client_models: bool = Field(
        False,
        description="write the model of each client at the end, models/clients/NN.keras: the one that it keeps, or "
        "what its device runs; it changes no result",
    )
    tflite: bool = Field(True, description="convert the final models to TFLite; it changes no result")


class StopSettings(Section):
    """`[stop]`: what ends a run before its last round. Accuracy is that on the server's validation data, never on the
    test set, and counts from the round on in which every group is at its full sparsity."""

    by: JudgedName | None = Field(
        None,
        description="whose accuracy, as in evaluation.judged, in the rounds in which it is measured; default: that of "
        "evaluation.judged, and global where that is deployed",
    )
    patience: Positive | None = Field(None, description="tested rounds without a gain of min_delta in accuracy")
    min_delta: Fraction = Field(0.001, description="a smaller gain counts as none")
    target: Share | None = Field(None, description="accuracy that is enough")
    bytes: Positive | None = Field(None, description="in both directions; the round that reaches it is the last")
    seconds: float | None = Field(None, gt=0.0, description="of rounds, by the clock: the one key that does not repeat")
    modelled_seconds: float | None = Field(None, gt=0.0, description="of rounds on the groups' devices; it repeats")

    @model_validator(mode="after")
    def _something(self) -> Self:
        keys = [key for key in StopSettings.model_fields if key not in ("by", "min_delta")]
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

    name: Name = Field(min_length=1, pattern=r"^[^/\\\x00-\x1f]+$", description="part of the name of a directory")
    set: dict[str, Any] = Field(default_factory=dict, description="keys as for --set")


class SweepSettings(Section):
    """`[sweep]`: every variant with every seed is a run of its own."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (1,), min_length=1, strict=False, description="each variant runs once with each"
    )
    variants: tuple[Variant, ...] = Field((Variant(name="base"),), min_length=1, strict=False)
    grid: dict[str, Any] = Field(
        default_factory=dict,
        description="key -> list of its values: each combination becomes a variant, of each variant if there are some",
    )

    @model_validator(mode="before")
    @classmethod
    def _grid_becomes_variants(cls, table: Any) -> Any:
        return with_grid(table) if isinstance(table, Mapping) and table.get("grid") else table

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
