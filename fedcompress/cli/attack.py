"""`fedcompress attack`."""

from __future__ import annotations

import sys

from fedcompress.attacks.chain_target import is_chain, target_of_chain
from fedcompress.attacks.membership import attack
from fedcompress.attacks.run_target import target_of_run
from fedcompress.attacks.table import attack_record, attack_table
from fedcompress.cli.arguments import AttackArguments
from fedcompress.cli.output import show
from fedcompress.errors import InputError
from fedcompress.results.run.directory import RunDirectory

FILE = "attack.json"


def command(args: AttackArguments) -> None:
    """Attacks the generator of a run or of a chain, and writes what came of it beside it."""
    if is_chain(args.run):
        target = target_of_chain(args.run, args.step)
    elif args.step is not None:
        raise InputError(f"--step {args.step}: is for what `fedcompress generate` wrote; {args.run} is none.")
    else:
        target = target_of_run(args.run)
    found = attack(target, examples=args.examples, samples=args.samples)
    record = attack_record(target.name, found)
    RunDirectory(args.run).write_json(FILE, record)
    show(record, attack_table(target.name, found), as_json=args.json)
    print(f"written: {args.run / FILE}", file=sys.stderr)
