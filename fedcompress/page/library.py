"""plotly.js for a page, cut to the traces that the page draws: a quarter of it, which starts in a fifth of the time."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Set
from functools import cache
from importlib.resources import files
from itertools import pairwise

_WRAPPED = re.compile(
    r'(?P<license>/\*\*.*?\*/\n).*?"use strict";(?P<body>var Plotly=.*window\.Plotly = Plotly;\n)'
    r"return Plotly;\n\}\)\);\s*",
    re.DOTALL,
)
"""The wrapper for module loaders, within which a browser compiles everything twice."""
_INDEX = re.compile(
    r"var [\w$]+=(?P<module>[\w$]+)\(\((?:[\w$]+),(?P<own>[\w$]+)\)=>\{var (?P<core>[\w$]+)=(?P<load>[\w$]+)\(\);"
    r"(?P=core)\.register\(\[(?P<traces>[\w$]+\(\)(?:,[\w$]+\(\))*)\]\);(?P=own)\.exports=(?P=core)\}\);"
)
"""The last module, which registers all traces with the core."""
_TRACE = re.compile(r'moduleType:"trace",name:"(\w+)"')


@cache
def packed(traces: frozenset[str]) -> str:
    """Returns `plotly_js` compressed, as base64: half a megabyte, which a browser unpacks in a moment."""
    return base64.b64encode(gzip.compress(plotly_js(traces).encode(), 6, mtime=0)).decode("ascii")


@cache
def plotly_js(traces: frozenset[str]) -> str:
    """Returns the source of the installed plotly.js with at least these types of traces and `scatter`."""
    source = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    if wrapped := _WRAPPED.fullmatch(source):
        source = wrapped["license"] + wrapped["body"]
    return cut(source, traces)


def cut(source: str, traces: Set[str]) -> str:
    """Leaves out the traces that are not wanted.

    plotly.js is one bundle: modules in the order in which they need each other, each run when it is first asked for;
    the core first, then trace after trace, and last an index that asks for all of them. So what stands behind the last
    trace that is wanted serves others alone. A bundle that looks different is returned whole.
    """
    index = _INDEX.search(source)
    if index is None:
        return source
    loaders = index["traces"].removesuffix("()").split("(),")
    ends = [source.find(f"var {name}={index['module']}(") for name in (index["load"], *loaders)]
    if ends != sorted(ends) or min(ends) < 0:
        return source
    names_of = [_TRACE.findall(source, begin, end) for begin, end in pairwise(ends)]
    wanted = [place for place, names in enumerate(names_of) if traces & set(names)]
    if traces - {"scatter"} - {name for place in wanted for name in names_of[place]}:
        return source
    last = source.index("});", ends[max(wanted, default=-1) + 1]) + len("});")
    calls = ",".join(f"{loaders[place]}()" for place in wanted)
    return source[:last] + index[0].replace(index["traces"], calls) + source[index.end() :]
