"""What a run, a sweep and a recipe write down: the rows and tables of their files, column by column.

Sizes are in bytes, times in seconds; accuracies and sparsities are fractions. A figure is null on disk, and NaN before,
where nothing was measured. A row of `ledger.jsonl` is a `wire.ledger.Transfer`. Rows may hold more columns than these:
what a strategy notes, and what clients report, under names that `columns` keeps apart from those here.
"""

from typing import Any, NotRequired, TypedDict

Figure = float | None


class RoundRow(TypedDict):
    """A round: a line of `rounds.jsonl`."""

    round: int
    accuracy: Figure
    """Of the global models on the test set: the mean over groups, weighted by their clients."""
    loss: Figure
    validation_accuracy: Figure
    """On the server's validation examples."""
    best: Figure
    """Test accuracy of the round so far that was best on validation examples."""
    seconds: float
    uplink_bytes: int
    downlink_bytes: int
    clients: int
    """That did what they were asked."""
    failures: int
    events: list[str]
    """What a reader should know."""
    modelled_seconds: NotRequired[float]
    """Until the last client that the server waits for, on devices that are modelled."""
    modelled_joules: NotRequired[float]
    modelled_late: NotRequired[int]
    modelled_dropouts: NotRequired[int]


class ClientRow(TypedDict, total=False):
    """One action of one client: a line of `clients.jsonl`."""

    round: int
    action: str
    client: int
    """The client's partition."""
    group: str
    examples: Figure
    train_loss: Figure
    accuracy: Figure
    """Of the model that came out, on test examples with the label mix of the client's data."""
    sparsity_target: Figure
    sparsity: Figure
    parameters: Figure
    dense_bytes: Figure
    """Of its model as float32."""
    compressed_bytes: Figure
    """Of its model, deflated."""
    seconds: Figure
    multiply_adds: float
    test_accuracy: float
    test_loss: float
    validation_accuracy: float
    modelled_seconds: float
    modelled_download_seconds: float
    modelled_compute_seconds: float
    modelled_upload_seconds: float
    modelled_joules: float
    status: str
    """`ok`, or why there is no contribution."""
    error: str | None
    model_digest: str


class GroupSummary(TypedDict):
    """A group at the end of a run: means over the latest models of its clients, masks applied."""

    model: str
    clients: int
    accuracy: Figure
    sparsity_target: Figure
    sparsity: Figure
    parameters: Figure
    dense_bytes: Figure
    compressed_bytes: Figure
    upload_bytes: Figure
    """What one client sent in its latest round."""
    dense_upload_bytes: Figure
    deployed_accuracy: NotRequired[Figure]
    """Under the masks of its clients."""
    h5_bytes: NotRequired[int | None]
    tflite_bytes: NotRequired[int | None]


class Summary(TypedDict):
    """How a run ended: `summary.json`."""

    run: str
    scenario: str
    seed: int
    engine: str
    status: str
    """`completed`, `failed` or `interrupted`."""
    rounds: int
    stopped: dict[str, str] | None
    """Why it ended before its last round."""
    accuracy: Figure
    best_accuracy: Figure
    best_round: int
    loss: Figure
    clients: dict[str, float]
    """Accuracy of each client on its own distribution: mean, std, worst10."""
    uplink_bytes: int
    downlink_bytes: int
    dense_uplink_bytes: int
    """The same as dense float32."""
    dense_downlink_bytes: int
    bytes_by_content: dict[str, dict[str, int]]
    groups: dict[str, GroupSummary]
    seconds: float
    model_digest: str | None
    """SHA-256 of the final weights."""
    warnings: list[str]
    missing: NotRequired[list[str]]
    """Files that could not be made, and why."""
    modelled: NotRequired[dict[str, Any]]
    samples: NotRequired[dict[str, Any]]


class Provenance(TypedDict):
    """What a run or recipe was made with: `provenance.json`."""

    versions: dict[str, str | None]
    commit: str | None
    dirty: bool | None
    machine: dict[str, Any]
    engine: NotRequired[str]
    workers: NotRequired[int]
    command: list[str]
    data_digest: str
    plugins_digest: str
    start: str
    end: str | None
    dataset_digest: NotRequired[str]
    seed: NotRequired[int]
    scenario_digest: NotRequired[str]
    recipe_digest: NotRequired[str]


class SweepRow(TypedDict):
    """A variant of a sweep, in `sweep.json`; besides, mean and standard deviation of figures of its summaries."""

    variant: str
    seeds: int
    """That are completed."""
    failed: int
    problems: list[str]
