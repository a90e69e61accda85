"use strict";
// Everything that comes from data reaches the page as text (textContent) or, in plots, with its markup escaped.
const content = JSON.parse(document.getElementById("content").textContent);
const at = (id) => document.getElementById(id);
const [modelsX, modelsY] = [content.models.x, content.models.y];
const state = { metric: Object.keys(content.metrics)[0], how: "best", value: "score", order: "cluster", i: 0, j: 0,
                sort: "shown", down: true };
const calibrated = content.level !== null;

function element(kind, text, attributes = {}) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
function digits(value, count = 4) {
  if (Number.isNaN(value) || value === undefined) return "–";
  const size = Math.abs(value);
  return size > 0 && (size < 0.5 * 10 ** -count || size >= 1e9) ? value.toExponential(1) : value.toFixed(count);
}

const unpacked = new Map();
function numbers(text) {
  if (!unpacked.has(text)) {
    const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    unpacked.set(text, new Float32Array(bytes.buffer));
  }
  return unpacked.get(text);
}
const metric = () => content.metrics[state.metric];
const place = (i, j) => i * modelsY.length + j;
const ofPair = (name, i, j) => (calibrated ? numbers(metric().pairs[name])[place(i, j)] : NaN);
const own = (i, j) => content.own[place(i, j)]; // a model with itself: in the map in grey, elsewhere left out
const ofItself = (i, j, a, b) => own(i, j) && a === b;
const reduced = (i, j) => numbers(metric().tables[state.how])[place(i, j)];
const shown = (i, j) => (state.value === "calibrated" ? ofPair("calibrated", i, j) : reduced(i, j));
function layerScore(i, j, a, b) {
  const columns = modelsY[modelsY.length - 1].start + modelsY[modelsY.length - 1].layers.length;
  return numbers(metric().scores)[(modelsX[i].start + a) * columns + modelsY[j].start + b];
}
function valueWord() {
  if (state.value === "calibrated") return "calibrated " + state.metric;
  return { best: "best", mean: "mean", same_depth: "same-depth" }[state.how] + " " + state.metric;
}

function layout(more) {
  const style = getComputedStyle(document.documentElement);
  const [ground, text, line] = ["--ground", "--text", "--line"].map((name) => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  const merged = { paper_bgcolor: ground, plot_bgcolor: ground, font: { color: text, size: 12, family: "system-ui, sans-serif" },
    margin: { l: 10, r: 10, t: 30, b: 10 }, hoverlabel: { align: "left", namelength: -1 }, ...more };
  merged.xaxis = { ...axis, ...more.xaxis };
  merged.yaxis = { ...axis, ...more.yaxis };
  return merged;
}
const settings = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
const draw = (id, traces, more) => Plotly.react(at(id), traces, layout(more), settings);

function drawMap() {
  const given = (models) => models.map((_, index) => index);
  const rows = state.order === "cluster" ? metric().order.x : given(modelsX);
  const columns = state.order === "cluster" ? metric().order.y : given(modelsY);
  const z = rows.map((i) => columns.map((j) => (own(i, j) ? null : shown(i, j))));
  const hover = rows.map((i) => columns.map((j) => pairText(i, j)));
  const names = (models, order) => ({ tickvals: order.map((_, index) => index), ticktext: order.map((m) => plain(models[m].short)),
    showgrid: false, zeroline: false });
  const trace = { type: "heatmap", z, hoverinfo: "text", text: hover, colorscale: "Cividis", xgap: 1, ygap: 1,
    hoverongaps: false, colorbar: { title: { text: plain(valueWord()), side: "right" }, thickness: 14, outlinewidth: 0 } };
  const traces = [trace];
  if (content.own.includes(true)) traces.push(greyCells(rows.map((i) => columns.map((j) => own(i, j))), hover));
  const [i, j] = [rows.indexOf(state.i), columns.indexOf(state.j)];
  const ring = { type: "rect", x0: j - 0.5, x1: j + 0.5, y0: i - 0.5, y1: i + 0.5, line: { color: "#D55E00", width: 3 } };
  const tall = Math.max(320, 26 * rows.length + 220);
  at("map").order = [rows, columns];
  at("map-note").textContent = `Rows: models of x; columns: models of y; colour: ${valueWord()}. Click a cell to open the pair; `
    + "drag to zoom, double-click to see all. The table below has the same numbers."
    + (content.own.includes(true) ? " Grey: a model with itself." : "")
    + (metric().undefined ? ` ${metric().undefined} layer pairs have no score.` : "");
  return draw("map", traces, { height: tall, shapes: [ring], dragmode: "zoom",
    xaxis: { ...names(modelsY, columns), autotickangles: [0, -45], range: [-0.5, columns.length - 0.5] },
    yaxis: { ...names(modelsX, rows), range: [rows.length - 0.5, -0.5] } });
}

function greyCells(cells, text) {
  return { type: "heatmap", z: cells.map((row) => row.map((cell) => (cell ? 1 : null))), text, hoverinfo: "text", hoverongaps: false,
    colorscale: [[0, "#b5b5b5"], [1, "#b5b5b5"]], showscale: false, xgap: 1, ygap: 1 };
}

function pairText(i, j) {
  const [a, b] = metric().best[place(i, j)];
  if (own(i, j)) return `${plain(modelsX[i].name)}<br>with itself: click to see its layers`;
  let text = `${plain(modelsX[i].name)}<br>${plain(modelsY[j].name)}<br>${plain(valueWord())} ${digits(shown(i, j))}`;
  if (a >= 0) text += `<br>best layers: ${plain(modelsX[i].layers[a])}, ${plain(modelsY[j].layers[b])}`;
  if (calibrated) text += `<br>p ${digits(ofPair("p", i, j))}, q ${digits(ofPair("q_bh", i, j))}`;
  return text;
}

function drawPair() {
  const { i, j } = state;
  const [x, y] = [modelsX[i], modelsY[j]];
  const [a, b] = metric().best[place(i, j)];
  at("pair-title").textContent = own(i, j) ? `${x.name} with itself` : `${x.name} with ${y.name}`;
  let facts = a < 0 ? `${state.metric}: ${own(i, j) && x.layers.length === 1 ? "one layer, with itself: nothing to compare." : "no score."}`
    : `${state.metric}: best ${own(i, j) ? "of two different layers " : ""}${digits(layerScore(i, j, a, b))} at layers ${x.layers[a]} (${a + 1} of ${x.layers.length}) and `
      + `${y.layers[b]} (${b + 1} of ${y.layers.length}).`;
  if (calibrated && !own(i, j)) {
    facts += ` Against chance, ${content.aggregate} over layer pairs ${digits(ofPair("score", i, j))}: critical score ${digits(ofPair("tau", i, j))} at level ${content.level}, `
      + `p ${digits(ofPair("p", i, j))}, q ${digits(ofPair("q_bh", i, j))} over all pairs, calibrated ${digits(ofPair("calibrated", i, j))}.`;
  }
  at("pair-facts").textContent = facts;
  const z = x.layers.map((_, r) => y.layers.map((_, c) => (ofItself(i, j, r, c) ? null : layerScore(i, j, r, c))));
  const hover = x.layers.map((left, r) => y.layers.map((right, c) => (ofItself(i, j, r, c) ? `${plain(left)} with itself`
    : `${plain(left)}, ${plain(right)}<br>${plain(state.metric)} ${digits(z[r][c])}`)));
  const traces = [{ type: "heatmap", z, text: hover, hoverinfo: "text", colorscale: "Cividis", hoverongaps: false,
    colorbar: { thickness: 14, outlinewidth: 0 } }];
  if (own(i, j)) traces.push(greyCells(x.layers.map((_, r) => y.layers.map((_, c) => r === c)), hover));
  if (a >= 0) {
    traces.push({ type: "scatter", mode: "markers", x: [b], y: [a], hoverinfo: "skip", showlegend: false,
      marker: { symbol: "circle-open", size: 15, color: "#D55E00", line: { width: 3 } } });
  }
  const bins = calibrated ? metric().null[place(i, j)] : null;
  at("null").hidden = !bins; // before anything is drawn: plots take the room they find
  at("pair").querySelector(".columns").classList.toggle("alone", !bins);
  const depths = (model, range) => ({ showgrid: false, zeroline: false, range, title: { text: "depth in " + plain(model.short) },
    ...(model.layers.length < 10 ? { tick0: 0, dtick: 1 } : {}) });
  const made = [draw("layers", traces, { height: 380, title: { text: "Layer by layer (ring: best)", font: { size: 13 } },
    xaxis: depths(y, [-0.5, y.layers.length - 0.5]), yaxis: depths(x, [x.layers.length - 0.5, -0.5]) })];
  if (bins) {
    const line = (value, color, dash) => ({ type: "line", x0: value, x1: value, y0: 0, y1: 1, yref: "paper", line: { color, width: 2.5, dash } });
    const word = (value, text, height) => ({ x: value, y: height, yref: "paper", text, showarrow: false, xanchor: "auto", bgcolor: "rgba(128,128,128,0.25)" });
    const [score, tau] = [ofPair("score", i, j), ofPair("tau", i, j)];
    const bars = { type: "bar", x: bins.counts.map((_, c) => bins.low + (c + 0.5) * bins.width), y: bins.counts,
      width: bins.width, marker: { color: "#0072B2" }, hovertemplate: "%{y} orders near %{x:.4f}<extra></extra>" };
    made.push(draw("null", [bars], { height: 380, showlegend: false, title: { text: "Chance, order by order", font: { size: 13 } },
      xaxis: { title: { text: plain(state.metric) } }, yaxis: { title: { text: "orders" }, rangemode: "tozero" },
      shapes: [line(score, "#D55E00", "solid"), line(tau, "#888888", "dash")],
      annotations: [word(score, "score " + digits(score), 1), word(tau, "critical " + digits(tau), 0.88)] }));
  }
  if (at("layer-table").open) fillLayers();
  return Promise.all(made);
}

function fillLayers() {
  const [x, y] = [modelsX[state.i], modelsY[state.j]];
  const table = element("table");
  const head = element("tr");
  head.append(element("th", "", { class: "name" }), ...y.layers.map((name) => element("th", name, { scope: "col" })));
  table.append(element("caption", `${state.metric}: layers of ${x.name} down, of ${y.name} across`), head);
  x.layers.forEach((name, r) => {
    const row = element("tr");
    row.append(element("th", name, { scope: "row", class: "name" }));
    row.append(...y.layers.map((_, c) => element("td", ofItself(state.i, state.j, r, c) ? "self" : digits(layerScore(state.i, state.j, r, c)))));
    table.append(row);
  });
  at("layer-table").querySelector("div").replaceChildren(table);
}

const columns = [
  { key: "x", head: "model of x", text: true, value: (i) => modelsX[i].name },
  { key: "y", head: "model of y", text: true, value: (i, j) => modelsY[j].name },
  { key: "shown", head: valueWord, value: shown },
  ...(calibrated ? [
    { key: "calibrated", head: "calibrated", value: (i, j) => ofPair("calibrated", i, j) },
    { key: "p", head: "p", value: (i, j) => ofPair("p", i, j) },
    { key: "q", head: "q (BH)", value: (i, j) => ofPair("q_bh", i, j) },
  ] : []),
  { key: "a", head: "best layer of x", text: true, value: (i, j) => modelsX[i].layers[metric().best[place(i, j)][0]] ?? "–" },
  { key: "b", head: "best layer of y", text: true, value: (i, j) => modelsY[j].layers[metric().best[place(i, j)][1]] ?? "–" },
];
const pairs = modelsX.flatMap((_, i) => modelsY.map((_, j) => ({ i, j })));
const rows = () => pairs.filter(({ i, j }) => metric().counted[place(i, j)]);

function fillPairs() {
  const head = at("pairs").querySelector("thead tr");
  head.replaceChildren(...columns.map((column) => {
    const sorted = state.sort === column.key;
    const cell = element("th", undefined, { scope: "col", class: column.text ? "name" : "",
      "aria-sort": sorted ? (state.down ? "descending" : "ascending") : "none" });
    const title = typeof column.head === "function" ? column.head() : column.head;
    const button = element("button", title + (sorted ? (state.down ? " ▼" : " ▲") : ""), { type: "button", "data-key": column.key });
    button.addEventListener("click", () => {
      state.down = sorted ? !state.down : !column.text;
      state.sort = column.key;
      fillPairs();
      at("pairs").querySelector(`button[data-key="${column.key}"]`).focus();
    });
    cell.append(button);
    return cell;
  }));
  const chosen = columns.find((column) => column.key === state.sort);
  const wanted = at("find").value.trim().toLowerCase();
  const all = rows();
  const seen = all.filter(({ i, j }) => !wanted || modelsX[i].name.toLowerCase().includes(wanted) || modelsY[j].name.toLowerCase().includes(wanted));
  const sign = state.down ? -1 : 1;
  const ordered = seen.map((row) => ({ ...row, v: chosen.value(row.i, row.j) })).sort((one, two) =>
    chosen.text ? sign * one.v.localeCompare(two.v) : Number.isNaN(one.v) - Number.isNaN(two.v) || sign * (one.v - two.v));
  at("pairs").querySelector("tbody").replaceChildren(...ordered.map(({ i, j }) => {
    const row = element("tr", undefined, { "data-pair": place(i, j) });
    row.append(...columns.map((column) => {
      const value = column.value(i, j);
      const cell = element("td", undefined, column.text ? { class: "name", dir: "auto", title: value } : {});
      if (column.key === "x") {
        const button = element("button", value, { type: "button", "aria-label": `open ${value} with ${modelsY[j].name}` });
        button.addEventListener("click", () => openPair(i, j, true));
        cell.append(button);
      } else cell.textContent = column.text ? value : digits(value);
      return cell;
    }));
    return row;
  }));
  at("found").textContent = wanted ? `${seen.length} of ${all.length} pairs`
    : all.length ? "" : "Every pair is a model with itself: nothing is compared with another model.";
  markRow();
}

function markRow() {
  at("pairs").querySelector("tr[aria-current]")?.removeAttribute("aria-current");
  at("pairs").querySelector(`tr[data-pair="${metric().listed[place(state.i, state.j)]}"]`)?.setAttribute("aria-current", "true");
}

function openPair(i, j, go) {
  [state.i, state.j] = [i, j];
  markRow();
  if (go) {
    at("pair").scrollIntoView({ block: "start" });
    at("pair").focus({ preventScroll: true });
  }
  const [rows, columns] = at("map").order;
  const [r, c] = [rows.indexOf(i), columns.indexOf(j)];
  return Promise.all([drawPair(), Plotly.relayout(at("map"), { "shapes[0].x0": c - 0.5, "shapes[0].x1": c + 0.5, "shapes[0].y0": r - 0.5, "shapes[0].y1": r + 0.5 })]);
}

function drawScaling() {
  if (!content.covariates.length) return;
  const chosen = content.covariates[at("covariate").value];
  const [mine, others] = chosen.side === "x" ? [modelsX, modelsY] : [modelsY, modelsX];
  const partner = at("partner").value === "" ? null : Number(at("partner").value);
  const values = numbers(chosen.values);
  const score = mine.map((_, m) => {
    const cells = others.map((_, o) => (chosen.side === "x" ? [m, o] : [o, m])).map(([i, j]) => (own(i, j) ? NaN : shown(i, j)));
    const kept = cells.filter((v, o) => (partner === null || o === partner) && !Number.isNaN(v));
    return kept.length ? kept.reduce((sum, v) => sum + v, 0) / kept.length : NaN;
  });
  const known = mine.map((_, m) => m).filter((m) => !Number.isNaN(values[m]) && !Number.isNaN(score[m]));
  const rho = chosen.rho[state.metric];
  at("scatter").hidden = !known.length;
  at("rho").textContent = (known.length ? `Each point a model of ${chosen.side}. ` : "No model has both this number and a score. ")
    + (rho === null ? "" : `Spearman correlation of the best layer pairs, mean over all models: ${digits(rho, 2)}.`);
  const trace = { type: "scatter", mode: "markers+text", x: known.map((m) => values[m]), y: known.map((m) => score[m]),
    text: known.map((m) => String(m + 1)), textfont: { size: 9, color: "#ffffff" }, hoverinfo: "text",
    hovertext: known.map((m) => `${plain(mine[m].name)}<br>${plain(chosen.name)} ${values[m].toPrecision(4)}<br>${plain(valueWord())} ${digits(score[m])}`),
    marker: { size: 17, color: known.map((m) => mine[m].color) }, showlegend: false };
  const names = known.map((m) => ({ type: "scatter", mode: "markers", x: [null], y: [null],
    name: `${m + 1}  ${plain(mine[m].short)}${mine[m].family === null ? "" : ` · ${plain(mine[m].family)}`}`,
    marker: { color: mine[m].color }, hoverinfo: "skip" }));
  return draw("scatter", [trace, ...names], { height: Math.max(380, 20 * known.length + 80), legend: { itemclick: false, itemdoubleclick: false },
    xaxis: { title: { text: plain(chosen.name) } }, yaxis: { title: { text: plain(valueWord()) } } });
}

function fillControls() {
  at("trained").hidden = !content.controls.length;
  at("trained-note").textContent = `${valueWord()}: the mean over the models of the other side, of each model and of the same network with random weights.`;
  const rows = content.controls.flatMap(({ side, rows, others }) => rows.map(([model, controls]) => {
    const cell = (m, o) => (side === "x" ? shown(m, o) : shown(o, m));
    const kept = others.filter((o) => !(side === "x" ? own(model, o) : own(o, model)) && ![model, ...controls].some((m) => Number.isNaN(cell(m, o))));
    const mean = (m) => kept.reduce((sum, o) => sum + cell(m, o), 0) / kept.length;
    const [trained, random] = [mean(model), controls.reduce((sum, m) => sum + mean(m), 0) / controls.length];
    const made = element("tr");
    made.append(element("th", (side === "x" ? modelsX : modelsY)[model].name, { dir: "auto", scope: "row" }),
      ...[trained, random, trained - random].map((v) => element("td", Number.isNaN(v) ? "none" : digits(v))));
    return made;
  }));
  at("controls").tBodies[0].replaceChildren(...rows);
}

function fillPartners() {
  const chosen = content.covariates[at("covariate").value];
  const others = chosen.side === "x" ? modelsY : modelsX;
  at("partner").replaceChildren(element("option", "the mean over all models", { value: "" }),
    ...others.map((model, o) => element("option", model.name, { value: o })));
}

function drawGallery() {
  if (!content.galleries.length) return;
  const chosen = content.galleries[at("which").value];
  const total = chosen.spread.reduce((sum, count) => sum + count, 0);
  const mean = chosen.spread.reduce((sum, count, s) => sum + s * count, 0) / total;
  at("gallery-note").textContent = `Of ${chosen.k} neighbours, a sample has ${mean.toFixed(2)} in common in the mean over ${total} samples. `
    + "Neighbours that both layers agree on are framed.";
  const picture = (row, shared) => {
    const sample = chosen.samples[row];
    const figure = element("figure", undefined, { class: shared ? "shared" : "", title: `${sample.id}: ${sample.caption}` });
    if (sample.picture) figure.append(element("img", undefined, { src: sample.picture, alt: "" }));
    figure.append(element("figcaption", sample.caption, { dir: "auto" }));
    return figure;
  };
  const block = (title, rows) => [element("h3", title), ...rows.map((row) => {
    const [left, right] = [chosen.lists.x[row], chosen.lists.y[row]];
    const count = left.filter((r) => right.includes(r)).length;
    const made = element("div", undefined, { class: "sample" });
    made.append(element("h4", `${chosen.samples[row].caption}: ${count} of ${chosen.k} shared`, { dir: "auto" }), picture(row, false));
    const sides = element("div");
    for (const [side, list, other] of [["x", left, right], ["y", right, left]]) {
      const strip = element("ol", undefined, { class: "row" });
      strip.append(...list.map((r) => { const item = element("li"); item.append(picture(r, other.includes(r))); return item; }));
      sides.append(element("div", `${chosen.place["model_" + side]}, ${chosen.place["layer_" + side]}`, { class: "side" }), strip);
    }
    made.append(sides);
    return made;
  })];
  at("samples").replaceChildren(...block("Most neighbours in common", chosen.rows.most), ...block("Fewest neighbours in common", chosen.rows.least));
}

function drawAll() {
  fillPairs();
  fillControls();
  return Promise.all([drawMap(), drawPair(), drawScaling()]);
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  at("theme").setAttribute("aria-pressed", String(dark));
  return drawAll();
}

function start() {
  at("title").textContent = content.title;
  at("summary").textContent = content.summary;
  at("metric").append(...Object.keys(content.metrics).map((name) => element("option", name, { value: name })));
  at("value-choice").hidden = !calibrated;
  for (const [word, text] of content.protocol) at("protocol").append(element("dt", word), element("dd", text));
  for (const name of ["metric", "how", "value", "order"]) {
    at(name).addEventListener("change", () => {
      state[name] = at(name).value;
      if (name === "metric" && state.sort === "shown") state.down = metric().larger;
      drawAll();
    });
  }
  at("choices").addEventListener("submit", (event) => event.preventDefault());
  at("find").addEventListener("input", fillPairs);
  at("layer-table").addEventListener("toggle", () => at("layer-table").open && fillLayers());
  at("scaling").hidden = !content.covariates.length;
  if (content.covariates.length) {
    at("covariate").append(...content.covariates.map(({ side, name }, c) => element("option", `${name} (models of ${side})`, { value: c })));
    at("covariate").addEventListener("change", () => { fillPartners(); drawScaling(); });
    at("partner").addEventListener("change", drawScaling);
    fillPartners();
  }
  at("gallery").hidden = !content.galleries.length;
  at("which").append(...content.galleries.map(({ place }, g) =>
    element("option", `${place.model_x}, ${place.layer_x} with ${place.model_y}, ${place.layer_y}`, { value: g })));
  at("which").addEventListener("change", drawGallery);
  drawGallery();
  const best = rows().map(({ i, j }) => ({ i, j, v: reduced(i, j) })).filter(({ v }) => !Number.isNaN(v));
  best.sort((one, two) => (metric().larger ? two.v - one.v : one.v - two.v));
  if (best.length) [state.i, state.j] = [best[0].i, best[0].j];
  state.down = metric().larger;
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", () => setTheme(scheme.matches));
  at("theme").addEventListener("click", () => setTheme(at("theme").getAttribute("aria-pressed") !== "true"));
  setTheme(scheme.matches).then(() => {
    at("map").on("plotly_click", (event) => {
      const [rows, columns] = at("map").order;
      openPair(rows[event.points[0].pointNumber[0]], columns[event.points[0].pointNumber[1]], true);
    });
    document.documentElement.dataset.ready = "true";
  });
}
start();
