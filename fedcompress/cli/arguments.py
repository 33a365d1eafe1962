"""What each command takes, and says of itself: one dataclass per command, whose docstring is the command's help.

Nothing heavy is imported here: `--help` and completions answer at once.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from fedcompress.cli import completion
from fedcompress.options import EngineName
from fedcompress.recipes.distill.settings import METHODS, DistillSettings

ScenarioFile = Annotated[
    Path,
    Argument(
        help="A scenario: a TOML file, or the name of one that ships.", autocompletion=completion.files_of("scenarios")
    ),
]
Set = Annotated[
    list[str],
    Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key, e.g. rounds=20; may be repeated. All keys: fedcompress keys.",
        autocompletion=completion.settings,
    ),
]
SetInRecipe = Annotated[
    list[str], Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. training.epochs=3; may be repeated.")
]
Seed = Annotated[int | None, Option(min=0, help="Replace the seed, or all seeds of a sweep.")]
DataDir = Annotated[Path | None, Option(metavar="DIR", help="Where to look for data sets first.")]
PluginDirs = Annotated[list[Path], Option("--plugins", metavar="DIR", help="Folder of plug-ins; may be repeated.")]
RunNames = Annotated[
    list[str],
    Argument(
        metavar="RUN...",
        help="Directories of runs or sweeps; each may be LABEL=DIR.",
        autocompletion=completion.runs,
    ),
]
Target = Annotated[
    float | None,
    Option(metavar="ACCURACY", help="Add rounds, seconds and bytes until the global model has this test accuracy."),
]
Baseline = Annotated[str | None, Option(metavar="NAME", help="Variant to compare the others with; default: the first.")]
Explain = Annotated[bool, Option("--explain", help="Add a line on what each word of the tables means.")]
SummaryAsJson = Annotated[bool, Option("--json", help="Print the summary alone on standard output.")]
Examples = Annotated[int | None, Option(help="Training examples; default: all.")]


@dataclass(frozen=True)
class RunArguments:
    """Run a scenario, all variants and seeds of its sweep, or the trials of its search."""

    scenario: ScenarioFile
    engine: Annotated[EngineName, Option(help="Where clients run.")] = EngineName.inline
    workers: Annotated[int, Option(min=1, help="Clients that train at the same time.")] = 1
    set_: Set = field(default_factory=list)
    seed: Seed = None
    out: Annotated[Path | None, Option(metavar="DIR", help="Run directory; default runs/NAME-DATE-TIME.")] = None
    data_dir: DataDir = None
    plugins: PluginDirs = field(default_factory=list)
    ray_address: Annotated[str | None, Option(metavar="HOST:PORT", help="A running Ray cluster.")] = None
    cpus_per_worker: Annotated[float, Option(min=0.0, help="CPUs that a Ray worker reserves.")] = 1.0
    gpus_per_worker: Annotated[float, Option(min=0.0, help="GPUs that a Ray worker reserves.")] = 0.0
    track: Annotated[
        list[str],
        Option(
            "--track",
            metavar="TRACKER",
            help="tensorboard, wandb or mlflow; may be repeated.",
            autocompletion=completion.words(("tensorboard", "wandb", "mlflow")),
        ),
    ] = field(default_factory=list)
    json: SummaryAsJson = False
    explain: Explain = False
    debug: Annotated[bool, Option(help="Stop at the first client that fails, and show where.")] = False


@dataclass(frozen=True)
class ResumeArguments:
    """Go on with a run that was interrupted, failed or killed, to the identical result."""

    run: Annotated[Path, Argument(help="Directory of a run, a sweep, a recipe, ...", autocompletion=completion.runs)]
    json: SummaryAsJson = False
    explain: Explain = False


@dataclass(frozen=True)
class CompareArguments:
    """Compare runs over seeds: means, 95 % intervals, and whether a difference is more than noise."""

    runs: RunNames
    target: Target = None
    fail_if: Annotated[
        str | None,
        Option(metavar="EXPRESSION", help="End with code 3 if it holds: 'deployed_accuracy < baseline'."),
    ] = None
    baseline: Annotated[
        list[str],
        Option(metavar="NAME", help="Variant to compare the others with; default: the first; may be repeated."),
    ] = field(default_factory=list)
    by: Annotated[
        str | None,
        Option(metavar="KEY", help="Compare in blocks: runs that have the same value of a key, as in data.partition."),
    ] = None
    figures: Annotated[
        list[str],
        Option(metavar="NAME,...", help="Figures to show, each with differences and p-values, as in uplink_bytes."),
    ] = field(default_factory=list)
    out: Annotated[
        Path | None,
        Option(
            metavar="FILE", help="Write .csv, .md, .html, .json or .tex (LaTeX); or all but the last into a directory."
        ),
    ] = None
    explain: Explain = False
    any_data: Annotated[bool, Option("--any-data", help="Compare runs of different data sets, too.")] = False
    json: Annotated[bool, Option("--json", help="Print the comparison alone on standard output.")] = False


@dataclass(frozen=True)
class ReportArguments:
    """Write one HTML page about runs or sweeps that opens offline."""

    runs: RunNames
    out: Annotated[
        Path | None, Option(metavar="FILE", help="The page; default: report.html in the first directory.")
    ] = None
    figures: Annotated[
        Path | None,
        Option(metavar="DIR", help="Draw the plots for a paper as well: SVG, PDF, PNG, one and two columns wide."),
    ] = None
    plot: Annotated[
        list[str],
        Option(metavar="NAME", help="Draw for --figures this plot alone, by words of its title; may be repeated."),
    ] = field(default_factory=list)
    target: Target = None
    baseline: Baseline = None


@dataclass(frozen=True)
class ProvenanceArguments:
    """Say what runs were made with, as a paragraph for an appendix: versions, seeds, data, machine, digests."""

    runs: RunNames
    latex: Annotated[bool, Option("--latex", help="Escape it for LaTeX.")] = False


@dataclass(frozen=True)
class DistillArguments:
    """Train a student by knowledge distillation, several ways, and compare them with plain training."""

    teacher: Annotated[
        str, Option(metavar="MODEL", help="Architecture of the teacher.", autocompletion=completion.names_of("models"))
    ]
    student: Annotated[
        str, Option(metavar="MODEL", help="Architecture of the student.", autocompletion=completion.names_of("models"))
    ]
    data: Annotated[
        str, Option(metavar="DATASET", help="Data set that both learn.", autocompletion=completion.names_of("datasets"))
    ]
    methods: Annotated[
        list[str],
        Option(
            metavar="METHOD",
            help=f"One of {', '.join(METHODS)}; may be repeated; default: all.",
            autocompletion=completion.words(METHODS),
        ),
    ] = field(default_factory=list)
    epochs: Annotated[int, Option(help="Epochs of every student.")] = DistillSettings.epochs
    teacher_epochs: Annotated[int, Option(help="Epochs of the teacher.")] = DistillSettings.teacher_epochs
    seeds: Annotated[int, Option(help="Repetitions, each with a teacher of its own.")] = DistillSettings.seeds
    temperature: Annotated[float, Option(help="Temperature of softened logits.")] = DistillSettings.temperature
    alpha: Annotated[float, Option(help="Weight of the teacher's logits, 0 to 1.")] = DistillSettings.alpha
    reduction: Annotated[
        int, Option(help="How many times narrower the projector's middle is than the teacher's features.")
    ] = DistillSettings.reduction
    sparsity: Annotated[float, Option(help="Prune the students to this fraction of zeros.")] = 0.0
    examples: Examples = None
    unlabelled: Annotated[
        int, Option(metavar="N", help="Further training inputs, without labels, that the teacher speaks of.")
    ] = DistillSettings.unlabelled
    out: Annotated[
        Path | None,
        Option(metavar="DIR", help="Write results here; what is ended goes on with: fedcompress resume DIR."),
    ] = None
    data_dir: DataDir = None
    plugins: PluginDirs = field(default_factory=list)
    json: Annotated[bool, Option("--json", help="Print the results alone on standard output.")] = False


@dataclass(frozen=True)
class CompressArguments:
    """Train, compress and measure one model: a recipe, or one method given by options."""

    recipe: Annotated[
        Path | None,
        Argument(
            help="A recipe: a TOML file, or the name of one that ships; or use options.",
            autocompletion=completion.files_of("recipes"),
        ),
    ] = None
    model: Annotated[
        str | None,
        Option(help="A model's name, as in mlp:100-50, or a Keras file.", autocompletion=completion.names_of("models")),
    ] = None
    data: Annotated[
        str | None,
        Option(metavar="DATASET", help="Data set that it learns.", autocompletion=completion.names_of("datasets")),
    ] = None
    method: Annotated[
        str | None,
        Option(
            help="How it is compressed; see: fedcompress list methods.", autocompletion=completion.names_of("methods")
        ),
    ] = None
    sparsity: Annotated[float | None, Option(help="The method's fraction of zeros.")] = None
    bits: Annotated[int | None, Option(help="The method's bits of a weight.")] = None
    param: Annotated[
        list[str], Option(metavar="KEY=VALUE", help="Another parameter of the method; may be repeated.")
    ] = field(default_factory=list)
    epochs: Annotated[int | None, Option(help="Epochs of each training.")] = None
    examples: Examples = None
    seeds: Annotated[int | None, Option(min=1, help="Repetitions, with the seeds 1, 2, ...")] = None
    set_: SetInRecipe = field(default_factory=list)
    out: Annotated[Path | None, Option(metavar="DIR", help="Results; default runs/NAME-DATE-TIME.")] = None
    data_dir: DataDir = None
    plugins: PluginDirs = field(default_factory=list)
    json: Annotated[bool, Option("--json", help="Print the rows alone on standard output.")] = False


@dataclass(frozen=True)
class GenerateArguments:
    """Train a generator, make it small by GAN Slimming, and private: a chain of steps, each of which can be resumed."""

    recipe: Annotated[
        Path,
        Argument(
            help="A recipe of a generator: a TOML file, or the name of one that ships.",
            autocompletion=completion.files_of("generators"),
        ),
    ]
    from_: Annotated[
        str | None,
        Option(
            "--from",
            metavar="STEP",
            help="Do this step and those after it anew, on what --out holds of the others.",
            autocompletion=completion.steps,
        ),
    ] = None
    until: Annotated[
        str | None,
        Option(metavar="STEP", help="End after this step; default: private.", autocompletion=completion.steps),
    ] = None
    set_: SetInRecipe = field(default_factory=list)
    seed: Annotated[int | None, Option(min=0, help="Replace the seed.")] = None
    out: Annotated[Path | None, Option(metavar="DIR", help="Results; default runs/NAME-DATE-TIME.")] = None
    data_dir: DataDir = None
    plugins: PluginDirs = field(default_factory=list)
    json: Annotated[bool, Option("--json", help="Print the figures alone on standard output.")] = False


@dataclass(frozen=True)
class MasksCollectArguments:
    """Train networks and try channel masks on each, all retrained alike: an archive, which grows until it is whole."""

    recipe: Annotated[
        Path,
        Argument(
            help="A recipe of masks: a TOML file, or the name of one that ships.",
            autocompletion=completion.files_of("masks"),
        ),
    ]
    out: Annotated[Path | None, Option(metavar="FILE", help="The archive; default: NAME.trials.")] = None
    workers: Annotated[int, Option(min=1, help="Networks that are trained at the same time.")] = 1
    set_: SetInRecipe = field(default_factory=list)
    data_dir: DataDir = None
    plugins: PluginDirs = field(default_factory=list)


@dataclass(frozen=True)
class MasksTrainArguments:
    """Train a proposer of channel masks on an archive; of a recipe that ships, collect its archive first."""

    archive: Annotated[
        Path,
        Argument(
            help="An archive of `masks collect`, or the name of a recipe that ships: quick.",
            autocompletion=completion.files_of("masks", toml=False),
        ),
    ]
    out: Annotated[
        Path | None, Option(metavar="FILE", help="The proposer; default: ARCHIVE.npz, or the user's cache.")
    ] = None
    set_: Annotated[
        list[str], Option("--set", metavar="KEY=VALUE", help="Override a key of [proposer], e.g. steps=1000.")
    ] = field(default_factory=list)
    seed: Annotated[int, Option(min=0, help="Of what is held out, initial weights and draws.")] = 1
    workers: Annotated[int, Option(min=1, help="Of the archive that a recipe collects.")] = 1
    page: Annotated[Path | None, Option(metavar="FILE", help="Write learning curves as HTML.")] = None
    data_dir: DataDir = None


@dataclass(frozen=True)
class MasksProposeArguments:
    """Draw channel masks for a trained network."""

    model: Annotated[Path, Option(metavar="FILE", help="A trained model: .keras or .h5.")]
    data: Annotated[
        str,
        Option(metavar="DATASET", help="Data set that it has learned.", autocompletion=completion.names_of("datasets")),
    ]
    sparsity: Annotated[list[float], Option(help="Fraction of its channels that goes; may be repeated.")]
    count: Annotated[int, Option(min=1, help="Masks of each sparsity.")] = 10
    proposer: Annotated[str, Option(metavar="FILE", help="Of `masks train`, or the name of one that ships.")] = "quick"
    floor: Annotated[int, Option(min=0, help="Channels that each layer keeps in any case.")] = 1
    seed: Annotated[int, Option(min=0, help="Of the draws.")] = 1
    out: Annotated[Path | None, Option(metavar="DIR", help="Write masks.txt and proposals.html here.")] = None
    cut: Annotated[bool, Option("--cut", help="Write each cut-out model, not retrained, into --out as well.")] = False
    data_dir: DataDir = None
    plugins: PluginDirs = field(default_factory=list)
    json: Annotated[bool, Option("--json", help="Print the masks alone on standard output.")] = False


@dataclass(frozen=True)
class MasksShowArguments:
    """Show an archive of channel masks: accuracy by criterion and sparsity, and what good masks have in common."""

    archive: Annotated[Path, Argument(help="An archive of `masks collect`.")]
    out: Annotated[Path | None, Option(metavar="FILE", help="Write the plots as HTML.")] = None
    json: Annotated[bool, Option("--json", help="Print the table alone on standard output.")] = False


@dataclass(frozen=True)
class AttackArguments:
    """Try to tell the training examples of a generator from others: membership inference, as a check of privacy."""

    run: Annotated[
        Path,
        Argument(help="Directory of a completed run with a generator, or of a chain.", autocompletion=completion.runs),
    ]
    step: Annotated[
        str | None,
        Option(
            metavar="STEP",
            help="Of a chain: the step whose generator is attacked; default: the last.",
            autocompletion=completion.steps,
        ),
    ] = None
    examples: Annotated[int, Option(min=1, help="Training examples, and as many test examples, at most.")] = 1000
    samples: Annotated[int, Option(min=100, help="Samples that are drawn from the generator.")] = 10_000
    json: Annotated[bool, Option("--json", help="Print the figures alone on standard output.")] = False


@dataclass(frozen=True)
class ReproduceArguments:
    """Run a paper's setting, or what is left of it, and show the published table beside what comes out."""

    name: Annotated[str, Argument(help="One of: fedcompress list reproductions.")]
    scale: Annotated[bool, Option("--scale", help="A small version, to see that it runs; no verdict.")] = False
    engine: Annotated[EngineName, Option(help="Where clients run.")] = EngineName.inline
    workers: Annotated[int, Option(min=1, help="Clients that train at the same time.")] = 1
    out: Annotated[Path | None, Option(metavar="DIR", help="Results; default runs/papers/NAME.")] = None
    data_dir: DataDir = None
    json: Annotated[bool, Option("--json", help="Print the table alone on standard output.")] = False
    debug: Annotated[bool, Option(help="Stop at the first client that fails, and show where.")] = False
