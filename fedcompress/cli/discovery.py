"""What the commands take by which a user finds out what there is: list, describe, keys, show, new, doctor."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from fedcompress.cli import completion
from fedcompress.cli.arguments import DataDir, PluginDirs, ScenarioFile, Seed, Set


class Document(StrEnum):
    """What has keys."""

    scenario = "scenario"
    recipe = "recipe"
    generator = "generator"


class Template(StrEnum):
    """What `new` writes."""

    client = "client"
    strategy = "strategy"
    model = "model"
    dataset = "dataset"
    partition_ = "partition"  # a text has a method of that name
    scenario = "scenario"


@dataclass(frozen=True)
class ListArguments:
    """List what scenarios can name, each with a line about it."""

    what: Annotated[
        str | None,
        Argument(
            metavar="[KIND]",
            help="strategies, clients, models, methods, datasets, compression, values, partitions, devices, scenarios, "
            "recipes, generators, reproductions or interfaces; default: the names of all of them.",
            autocompletion=completion.kinds,
        ),
    ] = None
    names: Annotated[bool, Option("--names", help="Print the names alone, one in each line.")] = False
    plugins: PluginDirs = field(default_factory=list)


@dataclass(frozen=True)
class DescribeArguments:
    """Say all about a strategy, model, data set, device, scenario, ..., or about a class that plug-ins are written
    against: meaning, paper, use, parameters, methods."""

    name: Annotated[
        str,
        Argument(
            help="As in a scenario: fedprox, dirichlet, lenet5, quickstart; or as in code: ServerStrategy, Trainer.",
            autocompletion=completion.names,
        ),
    ]
    kind: Annotated[
        str | None,
        Option(
            metavar="KIND", help="Of this kind alone, where several have the name.", autocompletion=completion.kinds
        ),
    ] = None
    plugins: PluginDirs = field(default_factory=list)


@dataclass(frozen=True)
class KeysArguments:
    """Print every key of a scenario with its type, its default and its meaning."""

    what: Annotated[
        str | None,
        Argument(
            metavar="[TEXT]",
            help="A section, or a part of a key, as in training or alpha; or else of a meaning, as in sparse.",
            autocompletion=completion.scenario_keys,
        ),
    ] = None
    of: Annotated[Document, Option(help="Whose keys.")] = Document.scenario
    json: Annotated[bool, Option("--json", help="Print them for programs.")] = False


@dataclass(frozen=True)
class ShowArguments:
    """Print the resolved scenario and the label distribution over clients."""

    scenario: ScenarioFile
    set_: Set = field(default_factory=list)
    seed: Seed = None
    data_dir: DataDir = None
    plugins: PluginDirs = field(default_factory=list)
    plot: Annotated[Path | None, Option(metavar="FILE", help="Write the label distribution as HTML.")] = None
    toml: Annotated[
        bool,
        Option("--toml", help="Print the scenario alone, to be copied into a file: as it ships, or with what is set."),
    ] = False


@dataclass(frozen=True)
class NewArguments:
    """Write a template, with comments, that runs as it is: the start of a plug-in or a scenario of your own."""

    what: Annotated[Template, Argument(metavar="KIND", help=f"{', '.join(Template)}.")]
    name: Annotated[str, Argument(help="What it is called in a scenario: lower case, as in my-client.")]
    out: Annotated[
        Path | None,
        Option(metavar="DIR", help="Where it goes; default: plugins/ for a plug-in, this folder for a scenario."),
    ] = None


@dataclass(frozen=True)
class DoctorArguments:
    """Say what is installed, which engines and data sets there are, and how to get what is missing."""

    data_dir: DataDir = None
