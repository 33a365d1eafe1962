"""What a run and a sweep write down: the rows and tables of their files, column by column.

Sizes are in bytes, times in seconds; accuracies and sparsities are fractions. A figure is null on disk, and NaN before,
where nothing was measured. A row of `ledger.jsonl` is a `wire.ledger.Transfer`. Rows may hold more columns than these:
what a strategy notes, and what clients report, under names that `columns` keeps apart from those here. The row of a
recipe is open altogether, since its method names the figures (`recipes.measuring`).
"""

from typing import Any, NotRequired, TypedDict

Figure = float | None


class GroupRow(TypedDict):
    """A group after a round, in a line of `rounds.jsonl`.

    Attributes:
        accuracy, validation_accuracy: Of the global model; of its clients' own models where there is no global one.
        deployed_accuracy, deployed_validation_accuracy: Of what its devices run.
        personal_accuracy, personal_worst10: Of that after one more local epoch, on each client's own distribution.
        own_accuracy, own_worst10: Where the run goes by it: of the models that clients keep, each on its own
            distribution.
    """

    accuracy: Figure
    validation_accuracy: Figure
    deployed_accuracy: Figure
    deployed_validation_accuracy: Figure
    personal_accuracy: NotRequired[Figure]
    personal_worst10: NotRequired[Figure]
    own_accuracy: NotRequired[Figure]
    own_worst10: NotRequired[Figure]


class RoundRow(TypedDict):
    """A round: a line of `rounds.jsonl`.

    Attributes:
        accuracy: Of the global models on the test set: the mean over groups, weighted by their clients.
        validation_accuracy: Likewise, on the server's validation examples.
        best: Test accuracy of the round so far that was best on validation examples.
        deployed_accuracy: Of what devices run, on the test set: the mean over groups, weighted by their clients; null
            in a round after which it was not tested.
        deployed_validation_accuracy: Likewise, on the server's validation examples.
        deployed_worst: Deployed accuracy of the group that fares worst.
        groups: Group -> its accuracies.
        personal_accuracy: Where it is asked for: of what devices run after one more local epoch, on each client's own
            distribution, the mean over clients; `personal_worst10` over their worst tenth.
        personal_validation_accuracy: Where the run is judged or ended by it: the same on own validation examples.
        own_accuracy: Where the run goes by it: of the models that clients keep, each on its own distribution, the mean
            over clients; `own_worst10` over their worst tenth, `own_validation_accuracy` on own validation examples.
        clients: That did what they were asked.
        events: What a reader should know.
        epsilon: Where clients release data: of the client that has released most so far; null if without noise.
        generator_bytes: Where clients slim a generator: what it took in both directions. What is left of it after the
            round is noted beside: `generator_channels`, `generator_parameters`, and what these take as float32
            (`generator_float_bytes`) and packed in their bits (`generator_packed_bytes`).
        graph_seconds: Of its clients' rows, the sum: by the clock, so that with several workers it may be more than
            passes in the round; more where other work has the processor.
        modelled_seconds: Until the last client that the server waits for, on devices that are modelled.
    """

    round: int
    accuracy: Figure
    loss: Figure
    validation_accuracy: Figure
    best: Figure
    deployed_accuracy: Figure
    deployed_validation_accuracy: Figure
    deployed_worst: Figure
    groups: dict[str, GroupRow]
    personal_accuracy: NotRequired[Figure]
    personal_worst10: NotRequired[Figure]
    personal_validation_accuracy: NotRequired[Figure]
    own_accuracy: NotRequired[Figure]
    own_worst10: NotRequired[Figure]
    own_validation_accuracy: NotRequired[Figure]
    seconds: float
    uplink_bytes: int
    downlink_bytes: int
    clients: int
    failures: int
    events: list[str]
    epsilon: NotRequired[Figure]
    generator_bytes: NotRequired[int]
    graph_seconds: NotRequired[float]
    modelled_seconds: NotRequired[float]
    modelled_joules: NotRequired[float]
    modelled_late: NotRequired[int]
    modelled_dropouts: NotRequired[int]


class PrivacyRow(TypedDict):
    """What a client was asked to release of its data: a line of `privacy.jsonl`.

    Attributes:
        what: The content.
        noise: Deviation of the noise, divided by what one unit changes at most; 0 without any.
        sampling: Probability with which a unit is in a step.
        steps: Noisy sums that were released.
        epsilon: Of all that the client has released, this included; null if something has no noise.
        cut_off: True if the round was cut off and repeated, with other noise: both releases count.
    """

    round: int
    client: int
    what: str
    noise: float
    sampling: float
    steps: int
    epsilon: Figure
    cut_off: NotRequired[bool]


class ClientRow(TypedDict, total=False):
    """One action of one client: a line of `clients.jsonl`.

    Attributes:
        client: The client's partition.
        accuracy: Of the model that came out, on test examples with the label mix of the client's data.
        parameters, dense_bytes, compressed_bytes: Of that model; as float32, and deflated (by ISA-L at its level 1).
        graph_seconds: Of `seconds`: making models and tracing graphs of them, which each worker does once. What
            TensorFlow does in a graph's first run, to optimise it, is not in it.
        test_accuracy, test_loss, validation_accuracy: Of a model that is the client's own.
        local_validation_accuracy: Where the run goes by it: of that, on the client's own validation examples.
        modelled_seconds: On its device, the download, the computation and the upload together.
        status: `ok`, or why there is no contribution; `error` says it as a sentence.
        model_digest: SHA-256 of the model that came out.
    """

    round: int
    action: str
    client: int
    group: str
    examples: Figure
    train_loss: Figure
    accuracy: Figure
    sparsity_target: Figure
    sparsity: Figure
    parameters: Figure
    dense_bytes: Figure
    compressed_bytes: Figure
    seconds: Figure
    graph_seconds: Figure
    multiply_adds: float
    test_accuracy: float
    test_loss: float
    validation_accuracy: float
    local_validation_accuracy: float
    modelled_seconds: float
    modelled_download_seconds: float
    modelled_compute_seconds: float
    modelled_upload_seconds: float
    modelled_joules: float
    status: str
    error: str | None
    model_digest: str


class GroupSummary(TypedDict):
    """A group at the end of a run: means over the latest models of its clients, masks applied.

    Attributes:
        accuracy: Of the global model on the test set.
        deployed_accuracy: Of what its devices run; likewise `deployed_validation_accuracy`.
        personal_accuracy: Where it was measured: of that after one more local epoch; likewise `personal_worst10`.
        own_accuracy: Where the run goes by it: of the models that its clients keep; likewise `own_worst10`.
        upload_bytes: What one client sent in its latest round; `dense_upload_bytes` the same as dense float32.
        multiply_adds: Of one example through the model that its first client deploys, channels left out.
    """

    model: str
    clients: int
    accuracy: Figure
    sparsity_target: Figure
    sparsity: Figure
    parameters: Figure
    dense_bytes: Figure
    compressed_bytes: Figure
    upload_bytes: Figure
    dense_upload_bytes: Figure
    deployed_accuracy: NotRequired[Figure]
    deployed_validation_accuracy: NotRequired[Figure]
    personal_accuracy: NotRequired[Figure]
    personal_worst10: NotRequired[Figure]
    own_accuracy: NotRequired[Figure]
    own_worst10: NotRequired[Figure]
    h5_bytes: NotRequired[int | None]
    tflite_bytes: NotRequired[int | None]
    multiply_adds: NotRequired[int | None]


class Summary(TypedDict):
    """How a run ended: `summary.json`.

    Attributes:
        status: `completed`, `failed` or `interrupted`.
        judged: By which accuracy the run is judged: deployed, global, own or personal.
        stopped: Why it ended before its last round.
        accuracy: Of the global models; `best_accuracy` that of the round that was best on validation data.
        deployed_accuracy: Of what devices run, after the last round; `deployed_worst` that of the worst group.
        deployed_best_accuracy: Of the tested round in which it was best on validation data.
        deployed_rounds: Those after which it was tested.
        clients: Accuracy of each client on its own distribution: mean, std, worst10.
        personal: The same after one more local epoch, where it was measured.
        own: The same of the models that clients keep, where the run goes by it.
        dense_uplink_bytes: The same as dense float32; likewise `dense_downlink_bytes`.
        bytes_by_content: Direction -> content -> bytes.
        graph_seconds: Sum of the rounds'.
        model_digest: SHA-256 of the final weights.
        missing: Files that could not be made, and why.
        modelled: What the groups' devices would have taken.
        samples: Quality of what the generator makes.
        epsilon: Where clients release data: of the client that has released most; null if without noise. `privacy` has
            it again, with delta, unit, where the noise came from and what is not covered.
    """

    run: str
    scenario: str
    seed: int
    engine: str
    status: str
    rounds: int
    judged: str
    stopped: dict[str, str] | None
    deployed_accuracy: Figure
    deployed_worst: Figure
    accuracy: Figure
    best_accuracy: Figure
    best_round: int
    loss: Figure
    deployed_best_accuracy: Figure
    deployed_rounds: list[int]
    clients: dict[str, float]
    personal: NotRequired[dict[str, float]]
    own: NotRequired[dict[str, float]]
    uplink_bytes: int
    downlink_bytes: int
    dense_uplink_bytes: int
    dense_downlink_bytes: int
    bytes_by_content: dict[str, dict[str, int]]
    groups: dict[str, GroupSummary]
    seconds: float
    graph_seconds: NotRequired[float]
    model_digest: str | None
    warnings: list[str]
    missing: NotRequired[list[str]]
    modelled: NotRequired[dict[str, Any]]
    samples: NotRequired[dict[str, Any]]
    epsilon: NotRequired[Figure]
    privacy: NotRequired[dict[str, Any]]


class Provenance(TypedDict):
    """What a run or recipe was made with: `provenance.json`.

    Attributes:
        commit, dirty: Of the source tree, and whether it had changes; null for an installed package.
        data_digest: SHA-256 of the data as they were divided; `dataset_digest` of the data set alone.
        precision: Where it is mixed: what layers compute in on this machine, "bfloat16" or "float16".
    """

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
    settings_digest: NotRequired[str]
    precision: NotRequired[str]


class SweepRow(TypedDict):
    """A variant of a sweep, in `sweep.json`; besides, mean and standard deviation of figures of its summaries.

    Attributes:
        seeds: That are completed.
        problems: Why runs failed.
    """

    variant: str
    seeds: int
    failed: int
    problems: list[str]
