"use strict";
// The figures of the report, drawn by plotly.js from the embedded JSON. Each function returns traces and a layout;
// `selection.js` keeps what the reader selected and redraws.

const report = JSON.parse(document.getElementById("report-data").textContent);
const points = report.front.points;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const digits = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(4)));
const signed = (value) => (value < 0 ? "\u2212" : "+") + digits(Math.abs(value));
const escaped = (text) => String(text).replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
const narrow = () => window.innerWidth < 600;

function latencyText(latency) {
  if (latency.low_ms === null || latency.high_ms === null) return `${digits(latency.ms)} ms`;
  const share = latency.interval_percent === null ? "" : `${latency.interval_percent}%: `;
  return `${digits(latency.ms)} ms (${share}${digits(latency.low_ms)} to ${digits(latency.high_ms)})`;
}

function shareText(point) {
  return digits(point.second) + (point.second_low === null ? "" : ` (${digits(point.second_low)} to ${digits(point.second_high)})`);
}

function scoreText(score) {
  return digits(score.value) + (score.standard_error === null ? "" : ` ± ${+score.standard_error.toPrecision(1)}`);
}

function parametersText(count) {
  return `${+(count / 1e6).toPrecision(3)} M`;
}

/** Names and values of one architecture, for the hover label and the panel. */
function facts(point) {
  const rows = [[`latency, ${point.latency.source}`, latencyText(point.latency)]];
  if (report.front.of_shares) rows.push([report.front.second, shareText(point)]);
  for (const each of point.on_devices) rows.push([`${each.device}, ${each.source}`, latencyText(each)]);
  if (point.measured_ms !== null) rows.push(["network measured as a whole", `${digits(point.measured_ms)} ms`]);
  if (point.again) rows.push(["score, second scoring", scoreText(point.again)]);
  rows.push([point.again ? "score, search" : "score", scoreText(point.search)]);
  if (point.parameters !== null) rows.push(["parameters", parametersText(point.parameters)]);
  if (!point.within_budgets) rows.push(["budgets", "over"]);
  return rows;
}

/** The text beside the pointer: the choices that are not `none`, a line for each few slots. */
function hoverText(point) {
  const held = report.front.slots.map((slot, place) => [slot.name, point.choices[place]]).filter(([, name]) => name !== "none");
  const shown = held.slice(0, 12).map(([slot, name]) => `${escaped(slot)}: ${escaped(name)}`);
  if (held.length > shown.length) shown.push(`and ${held.length - shown.length} more layers`);
  const layers = shown.length ? shown.join("<br>") : "no temporal layers";
  return `<b>${layers}</b><br>${facts(point).map(([name, value]) => `${escaped(name)}: ${value}`).join("<br>")}`;
}

/** A label in lines that fit an axis. */
function wrapped(text) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if ((lines.at(-1) + word).length > 52) lines.push("");
    lines[lines.length - 1] += `${word} `;
  }
  return lines.map((line) => escaped(line.trim())).join("<br>");
}

/** What all figures share. */
function baseLayout(extra) {
  const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("faint"), automargin: true };
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), family: "system-ui, sans-serif", size: narrow() ? 11 : 12.5 },
    margin: { l: 56, r: 14, t: 10, b: 48 }, hovermode: "closest",
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("faint"), font: { color: colour("ink") }, align: "left" },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, ...extra,
  };
  for (const key of ["xaxis", "yaxis"]) layout[key] = { ...axis, ...(extra[key] || {}) };
  return layout;
}

const score = (point, scores) => (scores === "again" ? point.again : point.search);
const leads = (point, scores) => (scores === "again" ? point.leads_again : point.leads_search);

/** The values within some interquartile ranges of the middle half of sorted values (Tukey's fences). */
function within(sorted, reach) {
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const far = reach * (at(0.75) - at(0.25));
  return sorted.filter((value) => value >= at(0.25) - far && value <= at(0.75) + far);
}

/** The range of an axis around the front: points far beyond the bulk of the others are left outside. */
function robustRange(values, kept, log) {
  const scale = (value) => (log ? Math.log10(value) : value);
  const sorted = values.map(scale).sort((a, b) => a - b);
  let inside = within(sorted, 1.5).concat(within(kept.map(scale).sort((a, b) => a - b), 3));
  const span = (list) => Math.max(...list) - Math.min(...list);
  if (!inside.length || span(sorted) <= 2 * span(inside)) inside = inside.concat(sorted); // they flatten nothing
  const low = Math.min(...inside), high = Math.max(...inside), gap = 0.06 * (high - low) || Math.abs(high) * 0.05 || 1;
  return [low - gap, high + gap];
}

/** A trace of points that a click selects. */
function markers(name, shown, scores, marker, extra = {}) {
  return {
    type: "scatter", mode: "markers", name, x: shown.map((point) => point.second), y: shown.map((point) => score(point, scores).value),
    customdata: shown.map((point) => point.id), text: shown.map(hoverText), hovertemplate: "%{text}<extra></extra>", marker, ...extra,
  };
}

/** The best score up to each latency, as a step line. */
function frontLine(front, scores) {
  return {
    type: "scatter", mode: "lines", line: { shape: "hv", color: colour("front"), width: 2 }, hoverinfo: "skip", showlegend: false,
    x: front.map((point) => point.second), y: front.map((point) => score(point, scores).value),
  };
}

function frontErrors(front, scores) {
  const bars = { color: colour("front"), thickness: 1, width: 0 };
  const own = front.map((point) => score(point, scores).own_error);
  const known = front.map((point) => point.second_low !== null);
  return {
    error_y: { ...bars, type: "data", array: own.map((error) => error ?? 0), visible: own.some((error) => error !== null) },
    error_x: {
      ...bars, type: "data", symmetric: false, visible: known.some(Boolean),
      array: front.map((point, place) => (known[place] ? point.second_high - point.second : 0)),
      arrayminus: front.map((point, place) => (known[place] ? point.second - point.second_low : 0)),
    },
  };
}

function frontFigure(state) {
  const { scores } = state;
  const scored = points.filter((point) => score(point, scores));
  const front = scored.filter((point) => leads(point, scores)).sort((a, b) => a.second - b.second);
  const behind = scored.filter((point) => !leads(point, scores));
  const within = behind.filter((point) => point.within_budgets), over = behind.filter((point) => !point.within_budgets);
  const measured = scored.filter((point) => point.measured_ms !== null);
  const traces = [markers("scored", within, scores, { color: colour("faint"), size: 7 })];
  if (over.length) traces.push(markers("over budget", over, scores, { color: colour("over"), size: 7, symbol: "x", opacity: 0.6 }));
  traces.push(frontLine(front, scores));
  const bars = frontErrors(front, scores);
  traces.push(markers("front", front, scores, { color: colour("front"), size: 9 }, bars));
  if (measured.length) {
    traces.push(markers("measured as a whole", measured, scores, { color: colour("measured"), size: 9, symbol: "diamond-open", line: { width: 2 } },
      { x: measured.map((point) => point.measured_ms) }));
  }
  if (bars.error_x.visible) {
    const line = { color: colour("front"), width: 1 };
    traces.push({ type: "scatter", mode: "lines", name: report.front.intervals, x: [null], y: [null], line });
  }
  const ring = (name, id, key, size) => {
    const here = scored.filter((point) => point.id === id);
    if (here.length) traces.push(markers(name, here, scores, { color: "rgba(0,0,0,0)", size, line: { width: 2.5, color: colour(key) } }, { hoverinfo: "skip", hovertemplate: undefined }));
  };
  ring("chosen", report.verdict && report.verdict.id, "chosen", 17);
  if (!report.verdict || state.id !== report.verdict.id) ring("selected", state.id, "selected", 21);
  const axis = (type, values, kept, label) => ({
    type, title: { text: label }, ...(state.view === "front" ? { range: robustRange(values, kept, type === "log") } : { autorange: true }),
  });
  const budgets = report.front.budgets.map((line) => line.value);
  const xs = scored.map((point) => point.second), ys = scored.map((point) => score(point, scores).value);
  const logY = state.y === "log" && ys.every((value) => value > 0) ? "log" : "linear";
  const name = scores === "again" ? report.front.quality_again : report.front.quality;
  const layout = baseLayout({
    height: narrow() ? 440 : 560, margin: { l: 70, r: 14, t: 30, b: 50 },
    xaxis: axis(state.x, xs, front.map((point) => point.second).concat(budgets), narrow() ? escaped(report.front.second) : `${escaped(report.front.second)} (lower is better)`),
    yaxis: axis(logY, ys, front.map((point) => score(point, scores).value), narrow() ? `score (${report.front.better} is better)` : wrapped(`${name} (${report.front.better} is better)`)),
    shapes: report.front.budgets.map((line) => ({ type: "line", x0: line.value, x1: line.value, yref: "paper", y0: 0, y1: 1, line: { color: colour("over"), dash: "dash", width: 1.5 } })),
    annotations: report.front.budgets.map((line) => ({ x: state.x === "log" ? Math.log10(line.value) : line.value, yref: "paper", y: 1, yanchor: "top", xanchor: "right", text: escaped(line.label), showarrow: false, font: { color: colour("over") } })),
  });
  return { traces, layout, outside: state.view === "front" ? outside(scored, scores, layout) : 0 };
}

/** How many scored architectures the ranges of the axes leave out. */
function outside(scored, scores, layout) {
  const beyond = (value, axis) => {
    const place = axis.type === "log" ? Math.log10(value) : value;
    return place < axis.range[0] || place > axis.range[1];
  };
  return scored.filter((point) => beyond(point.second, layout.xaxis) || beyond(score(point, scores).value, layout.yaxis)).length;
}

function importanceFigure() {
  const { slots, quality, latency } = report.importance;
  const bar = (name, values, key) => ({
    type: "bar", orientation: "h", name, y: slots, x: values, marker: { color: colour(key) }, hovertemplate: `%{y}: %{x:.2f}<extra>${name}</extra>`,
  });
  const layout = baseLayout({
    barmode: "group", bargap: 0.3, height: 110 + 34 * slots.length, margin: { l: 60, r: 14, t: 30, b: 44 },
    xaxis: { title: { text: "importance" }, rangemode: "tozero" }, yaxis: { autorange: "reversed" },
  });
  return { traces: [bar("for the score", quality, "front"), bar("for the latency", latency, "over")], layout };
}

const RANKS = ["#fde725", "#7ad151", "#22a884", "#2a788e", "#414487"];

/** One line for each architecture over the slots; lines of one rank of the score share a trace. */
function parallelFigure(state) {
  const { slots, better } = report.front;
  const scored = points.filter((point) => score(point, state.scores));
  const ranked = [...scored].sort((a, b) => (score(a, state.scores).value - score(b, state.scores).value) * (better === "lower" ? 1 : -1));
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const ramp = dark ? RANKS : [...RANKS].reverse();
  const height = (place, name) => 1 - (slots[place].candidates.indexOf(name) + 0.5) / slots[place].candidates.length;
  const traces = ramp.map((tint, part) => {
    const lines = { x: [], y: [], customdata: [], text: [] };
    ranked.forEach((point, rank) => {
      if (Math.min(Math.floor((rank / ranked.length) * ramp.length), ramp.length - 1) !== part) return;
      const shift = 0.34 * ((rank + 0.5) / ranked.length - 0.5);
      slots.forEach((slot, place) => {
        lines.x.push(place);
        lines.y.push(height(place, point.choices[place]) - shift / slot.candidates.length);
        lines.customdata.push(point.id);
        lines.text.push(hoverText(point));
      });
      for (const key of ["x", "y", "customdata", "text"]) lines[key].push(null);
    });
    const name = part === 0 ? "best fifth" : part === ramp.length - 1 ? "worst fifth" : `fifth ${part + 1}`;
    return { type: "scatter", mode: "lines+markers", name, ...lines, line: { color: tint, width: part === 0 ? 1.8 : 1 }, opacity: part === 0 ? 0.95 : 0.5, marker: { size: 3, color: tint }, hovertemplate: "%{text}<extra></extra>" };
  }).reverse();
  const chosen = scored.find((point) => point.id === state.id);
  if (chosen) {
    traces.push({
      type: "scatter", mode: "lines+markers", name: "selected", hoverinfo: "skip", line: { color: colour("selected"), width: 3.5 }, marker: { size: 8, color: colour("selected") },
      x: slots.map((_, place) => place), y: slots.map((_, place) => height(place, chosen.choices[place])),
    });
  }
  const labels = slots.flatMap((slot, place) => slot.candidates.map((name) => ({
    x: place, y: height(place, name), text: escaped(name), showarrow: false, font: { size: 10, color: colour("ink") }, yshift: -13, bgcolor: colour("page"), opacity: 0.85, borderpad: 1,
  })));
  const most = Math.max(...slots.map((slot) => slot.candidates.length));
  const layout = baseLayout({
    height: Math.max(460, 80 + 46 * most), annotations: labels, margin: { l: 50, r: 50, t: 60, b: 14 },
    xaxis: { tickvals: slots.map((_, place) => place), ticktext: slots.map((slot) => escaped(slot.name)), side: "top", zeroline: false, range: [-0.45, slots.length - 0.55], fixedrange: true },
    yaxis: { visible: false, range: [0, 1], fixedrange: true },
    legend: { orientation: "h", y: 1.1, yanchor: "bottom", x: 0, traceorder: "reversed" },
  });
  return { traces, layout };
}

const GROUPS = { "text encoder": "#8c6d31", "temporal layer": "#d55e00", "spatial convolution": "#56b4e9", "spatial attention": "#0072b2", "other block": "#9aa3b0", "each call": "#7f7f7f", decoder: "#009e73" };
const PROCESSORS = { "Neural Engine": "#009e73", GPU: "#e69f00", CPU: "#0072b2", unknown: "#9aa3b0" };

/** The parts of one architecture's clip, in the order of execution. */
function partsOf(point) {
  const { parts, slots, layers } = report.breakdown;
  return parts.map((part, place) => {
    const slot = slots.indexOf(place);
    return slot < 0 ? part : layers[slot][point.choices[slot]] || null;
  }).filter(Boolean);
}

function timeFigure(state) {
  const point = points.find((each) => each.id === state.id);
  const parts = partsOf(point);
  const total = parts.reduce((sum, part) => sum + part.ms * part.calls, 0);
  const key = (part) => (state.paint === "processor" ? part.processor || "unknown" : part.group);
  const tints = state.paint === "processor" ? PROCESSORS : GROUPS;
  let start = 0;
  const bars = parts.map((part) => {
    const ms = part.ms * part.calls, bar = { part, ms, start };
    start += ms;
    return bar;
  });
  const text = (bar) => {
    const share = `${digits((100 * bar.ms) / total)}% of the clip`;
    const calls = bar.part.calls > 1 ? ` = ${bar.part.calls} × ${digits(bar.part.ms)} ms` : "";
    return `<b>${escaped(bar.part.name)}</b><br>${digits(bar.ms)} ms${calls}<br>${share}${bar.part.processor ? `<br>${bar.part.processor}` : ""}`;
  };
  const traces = Object.keys(tints).map((name) => {
    const shown = bars.filter((bar) => key(bar.part) === name);
    return {
      type: "bar", orientation: "h", name, y: shown.map((bar) => bars.indexOf(bar)), x: shown.map((bar) => bar.ms), base: shown.map((bar) => bar.start),
      width: 0.76, customdata: shown.map((bar) => bar.part.name), text: shown.map(text), textposition: "none", hovertemplate: "%{text}<extra></extra>", marker: { color: tints[name] }, showlegend: shown.length > 0,
    };
  }).filter((trace) => trace.y.length);
  const layout = baseLayout({
    barmode: "overlay", bargap: 0.25, height: 120 + (narrow() ? 15 : 18) * bars.length, margin: { l: 110, r: 14, t: 30, b: 46 },
    xaxis: { title: { text: "ms of one clip" }, rangemode: "tozero" },
    yaxis: { tickvals: bars.map((_, place) => place), ticktext: bars.map((bar) => escaped(bar.part.name)), autorange: "reversed", tickfont: { size: narrow() ? 9 : 11 } },
  });
  return { traces, layout, total };
}

function curveFigure(curve) {
  const tints = ["front", "over", "chosen", "measured", "selected"].map(colour);
  const names = Object.keys(curve.series);
  const traces = names.map((name, place) => ({
    type: "scatter", mode: curve.x.length < 12 ? "lines+markers" : "lines", name, x: curve.x, y: curve.series[name], line: { color: tints[place % tints.length], width: 1.8 },
    hovertemplate: `%{x}: %{y:.4g}<extra>${escaped(name)}</extra>`,
  }));
  const values = names.flatMap((name) => curve.series[name]).filter((value) => value !== null);
  const wide = Math.min(...values) > 0 && Math.max(...values) > 8 * Math.min(...values);
  const layout = baseLayout({
    height: 260, showlegend: true, margin: { l: 60, r: 14, t: 30, b: 42 },
    xaxis: { title: { text: curve.x_label } }, yaxis: { type: wide ? "log" : "linear", dtick: wide ? "D2" : undefined, exponentformat: "none" },
  });
  return { traces, layout };
}

/** Errors of the predictions, with the interval of each; the axis reaches as far as they do. */
function checkFigure() {
  const checks = report.checks, percent = (check, value) => 100 * (value / check.measured_ms - 1);
  const known = checks.every((check) => check.low_ms !== null);
  const errors = checks.map((check) => percent(check, check.predicted_ms));
  const trace = {
    type: "scatter", mode: "markers", x: checks.map((check) => check.measured_ms), y: errors, customdata: checks.map((check) => check.id),
    marker: { size: 10, color: colour("front") },
    error_y: {
      type: "data", symmetric: false, visible: known, thickness: 1.5, color: colour("front"),
      array: checks.map((check, place) => (known ? percent(check, check.high_ms) - errors[place] : 0)),
      arrayminus: checks.map((check, place) => (known ? errors[place] - percent(check, check.low_ms) : 0)),
    },
    text: checks.map((check) => `<b>${check.id}</b><br>measured ${digits(check.measured_ms)} ms<br>predicted ${digits(check.predicted_ms)} ms` + (known ? ` (${digits(check.low_ms)} to ${digits(check.high_ms)})` : "")),
    hovertemplate: "%{text}<br>off by %{y:+.2f}%<extra></extra>",
  };
  const layout = baseLayout({
    height: 300, showlegend: false, margin: { l: 60, r: 14, t: 10, b: 46 },
    xaxis: { title: { text: narrow() ? "measured, ms per call" : "measured latency of one call of the denoising network, ms" } },
    yaxis: { title: { text: "prediction is off by, %" }, zeroline: true, zerolinecolor: colour("ink"), zerolinewidth: 1.5 },
  });
  return { traces: [trace], layout };
}
