"""`fedcompress run`: says at once what it will do, and only then imports what does it."""

from __future__ import annotations

from fedcompress.cli.arguments import RunArguments
from fedcompress.cli.output import tell
from fedcompress.options import Options
from fedcompress.scenario.loading import load_scenario, outline
from fedcompress.scenario.overrides import parse_assignment


def command(args: RunArguments) -> None:
    """Runs a scenario, or all variants and seeds of its sweep."""
    overrides = dict(map(parse_assignment, args.set_)) | ({"tracking.trackers": args.track} if args.track else {})
    scenario = load_scenario(args.scenario, overrides, args.seed)
    options = Options(
        engine=args.engine.value,
        workers=args.workers,
        data_dir=args.data_dir,
        plugins=tuple(args.plugins),
        fail_fast=args.debug,
        ray_address=args.ray_address,
        cpus_per_worker=args.cpus_per_worker,
        gpus_per_worker=args.gpus_per_worker,
    )
    tell(outline(scenario))
    from fedcompress.cli.carrying_out import carry_out_new

    carry_out_new(scenario, options, args.out, as_json=args.json, explains=args.explain)
