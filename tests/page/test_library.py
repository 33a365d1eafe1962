"""plotly.js as reports carry it: smaller, and whole where the bundle is not what was expected."""

from __future__ import annotations

from fedcompress.page.library import cut, plotly_js

BUNDLE = (
    "var Plotly=(()=>{var W=e=>e;var aa=W((e,t)=>{t.exports=core()});"
    'var b=W((e,t)=>{t.exports={moduleType:"trace",name:"bar",x:1}});var bb=W((e,t)=>{t.exports=b()});'
    'var p=W((e,t)=>{t.exports={moduleType:"trace",name:"pie",x:1}});var pp=W((e,t)=>{t.exports=p()});'
    'var m=W((e,t)=>{t.exports={moduleType:"trace",name:"map",x:1}});var mm=W((e,t)=>{t.exports=m()});'
    "var ii=W((e,t)=>{var c=aa();c.register([bb(),pp(),mm()]);t.exports=c});return ii();})();"
)


def test_traces_that_are_not_wanted_are_left_out() -> None:
    only_pie = cut(BUNDLE, {"scatter", "pie"})
    assert only_pie == BUNDLE[: BUNDLE.index("var m=")] + (
        "var ii=W((e,t)=>{var c=aa();c.register([pp()]);t.exports=c});return ii();})();"
    )
    assert "register([bb(),mm()])" in cut(BUNDLE, {"map", "bar"})
    assert "var b=" not in cut(BUNDLE, {"scatter"})


def test_what_looks_different_is_left_whole() -> None:
    for other in (BUNDLE.replace("register", "add"), BUNDLE.replace("var pp=", "let pp=")):
        assert cut(other, {"bar"}) == other
    assert cut(BUNDLE, {"bar", "sankey"}) == BUNDLE


def test_the_installed_library_is_cut() -> None:
    """4.8 MB whole; what pages draw is 1.1 MB of it."""
    source = plotly_js(frozenset({"scatter", "bar", "heatmap", "box"}))
    assert source.startswith("/**\n* plotly.js v")
    assert "MIT license" in source[:300]
    assert 500_000 < len(source) < 1_500_000
    assert "scattermap" not in source.rpartition(".register([")[2]
