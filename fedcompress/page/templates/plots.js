// Unpacks plotly.js after the page is readable, and draws the plots: those near the screen first, then the others.
(() => {
  "use strict";
  const figures = JSON.parse(document.getElementById("plots:figures").textContent);
  const plots = [...document.querySelectorAll(".plot")];
  const drawn = new Set();
  let library = null;

  // "@3/0.2" is the style sheet's colour --c3 with an opacity, "@ink" its --ink.
  const colour = (text) => {
    const [name, opacity] = text.slice(1).split("/");
    const style = getComputedStyle(document.documentElement);
    const value = style.getPropertyValue(/^\d/.test(name) ? `--c${name}` : `--${name}`).trim();
    if (!opacity) return value;
    const parts = value.slice(1).match(/../g).map((pair) => parseInt(pair, 16));
    return `rgba(${parts.join(",")},${opacity})`;
  };
  const coloured = (value, key) => {
    if (typeof value === "string") return /^@[\w-]+(\/[\d.]+)?$/.test(value) && COLOURS.has(key) ? colour(value) : value;
    if (Array.isArray(value)) return value.map((item) => coloured(item, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, coloured(item, name)]));
    }
    return value;
  };
  const COLOURS = new Set(["color", "fgcolor", "fillcolor", "colorscale", "gridcolor", "bgcolor", "bordercolor"]);

  // A long name without its middle, which tells less than its ends; an entity is one sign, and ideographs are wide.
  const room = (signs) => signs.reduce((sum, sign) => sum + (sign.codePointAt(0) < 0x1100 ? 1 : 2), 0);
  const shortened = (name, most) => {
    const head = name.match(/&\w+;|./gsu) ?? [];
    if (room(head) <= most) return name;
    const tail = head.splice(head.length / 2);
    while (room(head) + room(tail) >= most) room(head) > room(tail) ? head.pop() : tail.shift();
    return [...head, "…", ...tail].join("");
  };
  // The figure with names that fit: in the legend all of the width, beside bars four tenths of it.
  const fitted = (figure, width) => {
    const [legend, beside] = [(width - 70) / 7, (0.4 * width) / 7].map((most) => Math.max(9, Math.floor(most)));
    const data = figure.data.map((trace) => (trace.name ? { ...trace, name: shortened(trace.name, legend) } : trace));
    const bars = data.find((trace) => trace.orientation === "h");
    const ticks = bars ? { tickvals: bars.y, ticktext: bars.y.map((name) => shortened(String(name), beside)) } : {};
    return { data, layout: { ...figure.layout, yaxis: { ...figure.layout.yaxis, ...ticks } } };
  };

  // Rows that the legend takes at this width, so that a narrow screen leaves room for the plot.
  const legendHeight = (figure, width) => {
    if (!figure.layout.showlegend) return 0;
    const names = figure.data.filter((trace) => trace.showlegend !== false).map((trace) => (trace.name ?? "").length);
    const columns = Math.max(1, Math.floor((width - 58) / (48 + 7 * Math.max(...names))));
    return 20 * (Math.ceil(names.length / columns) - 1);
  };

  const axis = { automargin: true, gridcolor: "@grid", zeroline: false, showline: false, ticks: "", fixedrange: false };
  const layout = (own, height) => coloured({
    ...own,
    height,
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12.5, color: "@ink" },
    margin: { l: 48, r: 10, t: 8, b: 42 },
    xaxis: { ...axis, ...own.xaxis },
    yaxis: { ...axis, ...own.yaxis },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)", maxheight: 4000, traceorder: "normal" },
    hoverlabel: { bgcolor: "@card", bordercolor: "@line", font: { color: "@ink" } },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
  });

  const draw = (plot) => {
    const figure = fitted(figures[plot.id], plot.clientWidth);
    plot.querySelector(".waiting")?.remove();
    const height = Number(plot.dataset.height) + legendHeight(figure, plot.clientWidth);
    const config = { displayModeBar: false, responsive: true, displaylogo: false };
    drawn.add(plot);
    return Plotly.react(plot, coloured(figure.data), layout(figure.layout, height), config);
  };
  const redraw = () => [...drawn].forEach(draw);

  const unpack = async () => {
    const text = document.getElementById("plots:library").textContent;
    const packed = Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    script.remove();
  };
  const ready = () => (library ??= unpack());

  // The page counts as loaded once all plots are drawn, so that what captures or prints it waits for them: a frame
  // whose document is open is still loading.
  const frame = document.createElement("iframe");
  frame.hidden = true;
  document.body.append(frame);
  frame.contentDocument.open();
  const loaded = () => {
    frame.contentDocument?.close();
    frame.remove();
  };
  // One plot after the other: each is seen before the next is drawn, and scrolling goes before those far away.
  const pause = (far) => new Promise((next) => (far && window.requestIdleCallback ? requestIdleCallback(next, { timeout: 200 }) : setTimeout(next)));
  const drawAll = async () => {
    const left = new Set(plots);
    const distance = (plot) => {
      const box = plot.getBoundingClientRect();
      return Math.max(box.top - innerHeight, -box.bottom, 0);
    };
    await ready();
    while (left.size) {
      const next = [...left].reduce((a, b) => (distance(b) < distance(a) ? b : a));
      left.delete(next);
      await pause(distance(next) > 200);
      if (!drawn.has(next)) await draw(next);
    }
  };
  requestAnimationFrame(() => drawAll().catch(console.error).finally(loaded));

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  // Print shows everything: all plots, and what is folded.
  const print = matchMedia("print");
  let folded = null;
  const unfold = () => {
    if (folded) return;
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((details) => { details.open = true; });
    if (window.Plotly) plots.forEach(draw);
  };
  const fold = () => {
    folded?.forEach((details) => { details.open = false; });
    folded = null;
    redraw();
  };
  print.addEventListener("change", (event) => (event.matches ? unfold() : fold()));
  addEventListener("beforeprint", unfold);
  addEventListener("afterprint", fold);
})();
