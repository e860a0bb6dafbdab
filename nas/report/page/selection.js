"use strict";
// What the reader selected, and the parts of the page that follow it.

const best = points.filter((point) => point.leads_again || point.leads_search);
const state = {
  id: report.verdict ? report.verdict.id : ((best[0] || points[0] || {}).id ?? null),
  scores: report.front.quality_again ? "again" : "search", x: "linear", y: "linear", view: "front", paint: "group",
};
const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
const element = (id) => document.getElementById(id);

function draw(id, figure) {
  const place = element(id);
  if (place) Plotly.react(place, figure.traces, figure.layout, config);
}

/** An element with a class, texts and children; texts are never read as markup. */
function made(tag, name, ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...children);
  return node;
}

/** A name that may be broken after an underscore. */
function breakable(name) {
  return name.split("_").flatMap((part, place) => (place ? ["_", document.createElement("wbr"), part] : [part]));
}

function strip(point) {
  const list = made("ol", "strip");
  report.front.slots.forEach((slot, place) => {
    const name = point.choices[place], swatch = made("i", "swatch");
    swatch.style.background = report.front.colours[name] || "#7f7f7f";
    list.append(made("li", name === "none" ? "cell empty" : "cell", made("span", "slot", slot.name), made("span", "layer", swatch, ...breakable(name))));
  });
  return list;
}

function showSelected() {
  const panel = element("selected"), point = points.find((each) => each.id === state.id);
  if (!panel || !point) return;
  const chosen = report.verdict && report.verdict.id === point.id;
  const list = document.createElement("dl");
  for (const [name, value] of facts(point)) list.append(made("dt", "", name), made("dd", "", value));
  panel.replaceChildren(made("h3", "", chosen ? "Chosen: " : "Selected: ", made("code", "", point.id)), strip(point), list);
  if (report.clips.length) {
    const link = made("a", "", "Its clips are below.");
    link.href = "#clips";
    panel.append(made("p", "note", chosen ? link : "Clips were generated with the chosen architecture only."));
  }
}

function drawSelection() {
  if (!points.length) return;
  const front = frontFigure(state);
  draw("front-plot", front);
  element("outside").textContent = front.outside ? `${front.outside} of the architectures lie outside this view; “all points” shows them.` : "";
  draw("parallel-plot", parallelFigure(state));
  showSelected();
  if (!report.breakdown) return;
  const time = timeFigure(state);
  draw("time-plot", time);
  element("time-of").textContent = `Architecture ${state.id}: ${digits(time.total)} ms for one clip.`;
}

function drawAll() {
  drawSelection();
  if (report.importance) draw("importance-plot", importanceFigure());
  report.curves.forEach((curve, place) => draw(`curve-${place}`, curveFigure(curve)));
  if (report.checks.length) draw("check-plot", checkFigure());
}

function select(id) {
  if (!points.some((point) => point.id === id)) return;
  state.id = id;
  drawSelection();
}

for (const group of document.querySelectorAll(".switch")) {
  group.addEventListener("click", (event) => {
    if (!event.target.dataset.value) return;
    state[group.dataset.key] = event.target.dataset.value;
    for (const button of group.children) button.setAttribute("aria-pressed", String(button === event.target));
    drawSelection();
  });
}
if (report.breakdown && !points.some((point) => partsOf(point).some((part) => part.processor))) element("time-switches").remove();

// Clips play in step: every clip follows the first one.
const videos = [...document.querySelectorAll("video")];
const button = element("play");
if (button) {
  let playing = true;
  const start = () => videos.forEach((video) => video.play().catch(() => {}));
  const together = () => videos.slice(1).forEach((video) => {
    if (Math.abs(video.currentTime - videos[0].currentTime) > 0.06) video.currentTime = videos[0].currentTime;
  });
  videos[0].addEventListener("timeupdate", together);
  videos[0].addEventListener("seeked", together);
  button.addEventListener("click", () => {
    playing = !playing;
    button.textContent = playing ? "Pause" : "Play";
    if (playing) start();
    else {
      videos.forEach((video) => video.pause());
      together();
    }
  });
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) button.click();
  else start();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll();

for (const name of ["front-plot", "parallel-plot", "check-plot"]) {
  const place = element(name);
  if (place && place.on) place.on("plotly_click", (event) => select(event.points[0].customdata));
}
