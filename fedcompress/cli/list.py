"""`fedcompress list`."""

from __future__ import annotations

from fedcompress.cli.arguments import ListArguments
from fedcompress.devices import DEVICES
from fedcompress.errors import InputError, suggestion
from fedcompress.plugins import KINDS, Plugins
from fedcompress.scenario.gallery import shipped


def command(args: ListArguments) -> None:
    """Lists all kinds under their titles, or the names of one."""
    plugins = Plugins(tuple(args.plugins))
    names = {kind: plugins.names(kind) for kind in KINDS}
    names["devices"] = list(DEVICES)
    names |= {folder: sorted(path.stem for path in shipped(folder)) for folder in ("scenarios", "recipes")}
    names["generators"] = [path.stem for path in shipped("generators")]
    names["reproductions"] = sorted(path.stem for path in shipped("papers"))
    if args.what in (None, "generators"):
        from fedcompress.generators.spec import NAMES  # which imports NumPy

        names["generators"] = [*NAMES, *names["generators"]]
    if args.what is None:
        for title, listed in names.items():
            print("\n  ".join([title, *listed]))
    elif args.what in names:
        print("\n".join(names[args.what]))
    else:
        raise InputError(f"list {args.what}: unknown.{suggestion(args.what, names)}")
