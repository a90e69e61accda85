// Everything that comes from data reaches the page as text (textContent) or, in plots, with its markup escaped.
const content = JSON.parse(document.getElementById("content").textContent);
const at = (id) => document.getElementById(id);
const [modelsX, modelsY] = [content.models.x, content.models.y];
const state = { metric: content.lead, how: "best", value: "score", order: "cluster", i: 0, j: 0,
                sort: "shown", down: true };
const calibrated = content.level !== null;

function element(kind, text, attributes = {}) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
// A name that wraps after its punctuation, not within a word.
function named(made, name) {
  made.replaceChildren(...name.split(/(?<=[/_.@-])/).flatMap((part, n) => (n ? [element("wbr"), part] : [part])));
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
const turned = () => state.value === "score" && !metric().larger; // bright is close, whichever way the metric counts
const ofItself = (i, j, a, b) => own(i, j) && a === b;
const reduced = (i, j) => numbers(metric().tables[state.how])[place(i, j)];
const shown = (i, j) => (state.value === "calibrated" ? ofPair("calibrated", i, j) : reduced(i, j));
function layerScore(i, j, a, b) {
  const columns = modelsY[modelsY.length - 1].start + modelsY[modelsY.length - 1].layers.length;
  return numbers(metric().scores)[(modelsX[i].start + a) * columns + modelsY[j].start + b];
}
const ways = {
  best: "best over layer pairs",
  mean: "mean over layer pairs",
  same_depth: "same relative depth",
  assignment: "layers matched one to one",
  dtw: "layers matched in order",
  transport: "layers coupled by optimal transport",
};
function valueWord() {
  return state.value === "calibrated" ? `calibrated ${metric().quantity}` : `${metric().words}, ${ways[state.how]}`;
}
const dark = () => document.documentElement.dataset.theme === "dark";
const ink = (color) => (color === "#000000" && dark() ? "#e8ebee" : color); // black is a family's colour, too
function inkUpon(color) { // as ink_upon of the figures
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16) / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179 ? "#ffffff" : "#000000";
}
const phone = matchMedia("(max-width: 699px)");
const narrow = () => phone.matches;
const mapName = (model) => (narrow() ? model.brief : model.short);

// Text as lines of about equal length and at most so many pixels, broken at spaces: plots break no line themselves.
function inLines(text, pixels, size = 14) {
  const words = String(text).replace(/ = /g, "\u00a0=\u00a0").split(" ");
  const broken = (most) => words.reduce((lines, word) => {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    return lines.length && longer.length <= most ? [...lines.slice(0, -1), longer] : [...lines, word];
  }, []);
  const most = pixels / (0.56 * size);
  const lines = broken(most);
  const even = broken(Math.min(most, String(text).length / lines.length + 6));
  return (even.length === lines.length ? even : lines).map(plain).join("<br>");
}
const linesIn = (text) => text.split("<br>").length;
// The best or the chosen: black upon white is legible on all colours of a map, and is no family's colour.
const ring = [{ color: "#ffffff", width: 5 }, { color: "#000000", width: 2 }];
const frame = (row, column) => ring.map((line) => ({ type: "rect", x0: column - 0.5, x1: column + 0.5, y0: row - 0.5, y1: row + 0.5, line }));

function layout(more) {
  const style = getComputedStyle(document.documentElement);
  const [ground, text, line] = ["--ground", "--text", "--line"].map((name) => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  const merged = { paper_bgcolor: ground, plot_bgcolor: ground, font: { color: text, size: 12, family: "system-ui, sans-serif" },
    margin: { l: 10, r: 10, t: 30, b: 10 }, hoverlabel: { align: "left", namelength: -1 }, ...more };
  merged.xaxis = { ...axis, ...more.xaxis };
  merged.yaxis = { ...axis, ...more.yaxis };
  const { title } = merged.yaxis; // its lines grow towards the labels
  if (title) merged.yaxis.title = { ...title, standoff: 16 * linesIn(title.text) - 6 };
  return merged;
}
const coarse = matchMedia("(pointer: coarse)").matches; // fingers scroll, and do not draw zoom boxes
const settings = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
function draw(id, traces, more) {
  at(id).style.height = `${more.height}px`; // plots that follow the window take the height of their place
  return window.Plotly ? Plotly.react(at(id), traces, layout({ width: at(id).clientWidth, ...more }), settings) : Promise.resolve();
}
// The name of a plot, under the buttons that stand over plots on touch screens.
const touched = coarse ? { height: 410, margin: { l: 10, r: 10, t: 60, b: 10 } } : { height: 380 };
const heading = (text) => ({ text, font: { size: 13 }, ...(coarse ? { yref: "container", yanchor: "middle", y: 1 - 44 / 410 } : {}) });

// Plotly is megabytes of code: it is read after the finding and the tables are on the screen.
function afterPaint(act) {
  requestAnimationFrame(() => setTimeout(act));
  setTimeout(act, 500); // a page in the background is never painted
}
function loadPlotly() {
  const script = element("script", at("plotly").textContent);
  document.head.append(script);
}

function drawMap() {
  const given = (models) => models.map((_, index) => index);
  const rows = state.order === "cluster" ? metric().order.x : given(modelsX);
  const columns = state.order === "cluster" ? metric().order.y : given(modelsY);
  const z = rows.map((i) => columns.map((j) => (own(i, j) ? null : shown(i, j))));
  const hover = rows.map((i) => columns.map((j) => pairText(i, j)));
  const names = (models, order) => ({ tickvals: order.map((_, index) => index), ticktext: order.map((m) => plain(mapName(models[m]))),
    showgrid: false, zeroline: false, ...(narrow() ? { tickfont: { size: 11 } } : {}) });
  const bar = narrow() || rows.length < 10 ? { orientation: "h", x: 0, xanchor: "left", y: 1, yanchor: "bottom", lenmode: "pixels",
    len: Math.min(240, 80 + 28 * columns.length), thickness: 10, nticks: 4,
    title: { text: inLines(valueWord(), Math.min(240, 80 + 28 * columns.length), 11), side: "top", font: { size: 11 } } }
    : { title: { text: inLines(valueWord(), 26 * rows.length + 40), side: "right" }, thickness: 14 };
  const trace = { type: "heatmap", z, hoverinfo: "text", text: hover, colorscale: "Cividis", reversescale: turned(), xgap: 1, ygap: 1,
    hoverongaps: false, colorbar: { outlinewidth: 0, ...bar } };
  at("map").style.minWidth = `${Math.max(...modelsX.map((m) => mapName(m).length)) * 7 + 28 * columns.length + (narrow() ? 20 : 130)}px`;
  const traces = [trace];
  if (content.own.includes(true)) traces.push(greyCells(rows.map((i) => columns.map((j) => own(i, j))), hover));
  const [i, j] = [rows.indexOf(state.i), columns.indexOf(state.j)];
  const tall = 26 * rows.length + 120 + 14 * (bar.orientation ? linesIn(bar.title.text) : 1) + 5 * Math.max(16, ...modelsY.map((m) => mapName(m).length));
  at("map").order = [rows, columns];
  at("map-note").textContent = `Rows: models of x; columns: models of y; colour: ${valueWord()}. Click a cell to open the pair${coarse ? ". " : "; "}`
    + (coarse ? "" : "drag to zoom, double-click to see all. ") + "The table below has the same numbers."
    + (content.own.includes(true) ? " Grey: a model with itself." : "")
    + (metric().undefined ? ` ${metric().undefined} layer pairs have no score.` : "")
    + (z.some((row, r) => row.some((v, c) => Number.isNaN(v))) ? " Empty: a pair without a score." : "");
  at("sideways").hidden = at("map").clientWidth <= at("map").parentElement.clientWidth;
  return draw("map", traces, { height: tall, shapes: frame(i, j), dragmode: coarse ? false : "zoom",
    xaxis: { ...names(modelsY, columns), autotickangles: [0, -45], ticklabeloverflow: "allow", range: [-0.5, columns.length - 0.5] },
    yaxis: { ...names(modelsX, rows), range: [rows.length - 0.5, -0.5] } });
}

function greyCells(cells, text) {
  return { type: "heatmap", z: cells.map((row) => row.map((cell) => (cell ? 1 : null))), text, hoverinfo: "text", hoverongaps: false,
    colorscale: [[0, "#e8e8e8"], [1, "#e8e8e8"]], showscale: false, xgap: 1, ygap: 1 };
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
  named(at("pair-title"), own(i, j) ? `${x.name} with itself` : `${x.name} with ${y.name}`);
  let facts = a < 0 ? `${metric().quantity}: ${own(i, j) && x.layers.length === 1 ? "one layer, with itself: nothing to compare." : "no score."}`
    : `${metric().quantity}: best ${own(i, j) ? "of two different layers " : ""}${digits(layerScore(i, j, a, b))} at layers ${x.layers[a]} (${a + 1} of ${x.layers.length}) and `
      + `${y.layers[b]} (${b + 1} of ${y.layers.length}).`;
  if (calibrated && !own(i, j)) {
    facts += ` Against chance, ${content.aggregate} ${digits(ofPair("score", i, j))}: critical score ${digits(ofPair("tau", i, j))} at level ${content.level}, `
      + `p ${digits(ofPair("p", i, j))}, q ${digits(ofPair("q_bh", i, j))} over all pairs, calibrated ${digits(ofPair("calibrated", i, j))}.`;
  }
  at("pair-facts").textContent = facts;
  const z = x.layers.map((_, r) => y.layers.map((_, c) => (ofItself(i, j, r, c) ? null : layerScore(i, j, r, c))));
  const hover = x.layers.map((left, r) => y.layers.map((right, c) => (ofItself(i, j, r, c) ? `${plain(left)} with itself`
    : `${plain(left)}, ${plain(right)}<br>${plain(metric().quantity)} ${digits(z[r][c])}`)));
  const traces = [{ type: "heatmap", z, text: hover, hoverinfo: "text", colorscale: "Cividis", reversescale: !metric().larger, hoverongaps: false,
    colorbar: { thickness: 14, outlinewidth: 0, title: { text: inLines(metric().words, 330), side: "right" } } }];
  if (own(i, j)) traces.push(greyCells(x.layers.map((_, r) => y.layers.map((_, c) => r === c)), hover));
  if (a >= 0) {
    traces.push(...ring.map(({ color, width }) => ({ type: "scatter", mode: "markers", x: [b], y: [a], hoverinfo: "skip", showlegend: false,
      marker: { symbol: "circle-open", size: 15, color, line: { width } } })));
  }
  const bins = calibrated ? metric().null[place(i, j)] : null;
  at("null").hidden = !bins; // before anything is drawn: plots take the room they find
  at("pair").querySelector(".columns").classList.toggle("alone", !bins);
  const depths = (model, range) => ({ showgrid: false, zeroline: false, range, title: { text: inLines(`depth in ${mapName(model)}`, narrow() ? 210 : 330) },
    ...(model.layers.length < 10 ? { tick0: 0, dtick: 1 } : {}) });
  const made = [draw("layers", traces, { ...touched, title: heading("Layer by layer (ring: best)"),
    xaxis: depths(y, [-0.5, y.layers.length - 0.5]), yaxis: depths(x, [x.layers.length - 0.5, -0.5]) })];
  if (bins) {
    const [score, tau] = [ofPair("score", i, j), ofPair("tau", i, j)];
    const top = Math.max(...bins.counts) * 1.05;
    const shownAt = [bins.low, bins.low + bins.counts.length * bins.width, score, tau].filter((value) => !Number.isNaN(value));
    const [low, high] = [Math.min(...shownAt), Math.max(...shownAt)];
    const margin = 0.04 * (high - low || 1);
    const across = inLines(metric().words, 320);
    const line = (value, name, color, dash) => ({ type: "scatter", mode: "lines", x: [value, value], y: [0, top], name: `${name} ${digits(value)}`,
      hoverinfo: "name", line: { color, width: 2.5, dash } });
    const bars = { type: "bar", x: bins.counts.map((_, c) => bins.low + (c + 0.5) * bins.width), y: bins.counts,
      width: bins.width, marker: { color: "#808080" }, name: "chance", hovertemplate: "%{y} orders near %{x:.4f}<extra></extra>" };
    made.push(draw("null", [bars, line(score, "score", ink("#000000"), "solid"), line(tau, "critical score", ink("#000000"), "dash")],
      { ...touched, title: heading("Chance, order by order"), bargap: 0,
        legend: { orientation: "h", y: -0.17 - 0.08 * linesIn(across), itemclick: false, itemdoubleclick: false },
        xaxis: { title: { text: across }, range: [low - margin, high + margin] }, yaxis: { title: { text: "orders" }, range: [0, top] } }));
  }
  if (at("layer-table").open) fillLayers();
  return Promise.all(made);
}

function numberCell(kind, value) {
  return element(kind, digits(value), Number.isNaN(value) ? {} : { "data-value": value });
}

function fillLayers() {
  const [x, y] = [modelsX[state.i], modelsY[state.j]];
  const table = element("table");
  const head = element("tr");
  head.append(element("th", "layer", { class: "name", scope: "col" }), ...y.layers.map((name) => element("th", name, { scope: "col" })));
  table.createTHead().append(head);
  table.createTBody();
  const caption = element("caption");
  caption.append(element("span", `${metric().quantity}: layers of ${x.name} down, of ${y.name} across`));
  table.append(caption);
  x.layers.forEach((name, r) => {
    const row = element("tr");
    row.append(element("th", name, { scope: "row", class: "name" }));
    row.append(...y.layers.map((_, c) => ofItself(state.i, state.j, r, c) ? element("td", "self") : numberCell("td", layerScore(state.i, state.j, r, c))));
    table.tBodies[0].append(row);
  });
  at("layer-table").querySelector(".scroll").replaceChildren(table);
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
    button.textContent = button.textContent.replace(" = ", "\u00a0=\u00a0");
    cell.dataset.text = title;
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
      const cell = column.text ? element("td", undefined, { class: "name", dir: "auto" }) : numberCell("td", value);
      if (column.key === "x") {
        const button = named(element("button", undefined, { type: "button", "aria-label": `open ${value} with ${modelsY[j].name}` }), value);
        button.addEventListener("click", () => openPair(i, j, true));
        cell.append(button);
      } else if (column.text) named(cell, value);
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
  return Promise.all([drawPair(), window.Plotly && Plotly.relayout(at("map"), { shapes: frame(r, c) })]);
}

// The models that those of a side are compared with; of a study of one side with itself, the others.
const whom = (side) => (content.own.includes(true) ? "other models" : `models of ${side === "x" ? "y" : "x"}`);

const DISC = 17; // pixels
// Places of discs that do not cover each other, as near to their points as small steps find, within the plot.
function spread(points, distance, [width, height]) {
  let moved = points.map(([x, y], i) => [x + 1e-3 * Math.cos(2.4 * i), y + 1e-3 * Math.sin(2.4 * i)]);
  for (let turn = 0; turn < 500; turn += 1) {
    let crowded = false;
    moved = moved.map(([x, y], i) => {
      let [dx, dy, count] = [0, 0, 0];
      moved.forEach(([u, v], j) => {
        const gap = Math.hypot(x - u, y - v);
        if (j === i || gap >= distance) return;
        dx += ((x - u) / gap) * (distance - gap);
        dy += ((y - v) / gap) * (distance - gap);
        count += 1;
      });
      if (!count) return [x, y];
      crowded = true;
      const within = (value, most) => Math.min(Math.max(value, DISC / 2), most - DISC / 2);
      return [within(x + (0.6 * dx) / count, width), within(y + (0.6 * dy) / count, height)];
    });
    if (!crowded) break;
  }
  return moved;
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
    + (rho === null ? "" : `Spearman correlation of the best layer pairs, mean over all ${whom(chosen.side)}: ${digits(rho, 2)}.`);
  const axis = numberAxis(known.map((m) => values[m]), chosen.log);
  const place = { x: known.map((m) => axis.place(values[m])), y: known.map((m) => score[m]) };
  const color = known.map((m) => ink(mine[m].color));
  const points = { type: "scatter", mode: "markers", ...place, marker: { size: 6, color }, hoverinfo: "skip", showlegend: false };
  const discs = (moved) => ({ type: "scatter", mode: "markers+text", ...moved,
    text: known.map((m) => String(m + 1)), textfont: { size: 9, color: color.map(inkUpon) }, hoverinfo: "text",
    hovertext: known.map((m) => `${plain(mine[m].name)}<br>${plain(chosen.name)} ${values[m].toPrecision(4)}<br>${plain(valueWord())} ${digits(score[m])}`),
    marker: { size: DISC, color, opacity: 1 }, showlegend: false });
  const leaders = (moved) => known.map((m, i) => ({ type: "scatter", mode: "lines", x: [place.x[i], moved.x[i]], y: [place.y[i], moved.y[i]],
    line: { color: color[i], width: 1 }, hoverinfo: "skip", showlegend: false }));
  const joined = chosen.joined ? [...new Set(known.map((m) => mine[m].family))].map((family) => {
    const ends = known.filter((m) => mine[m].family === family).sort((one, two) => values[one] - values[two]);
    return { type: "scatter", mode: "lines", x: ends.map((m) => axis.place(values[m])), y: ends.map((m) => score[m]), hoverinfo: "skip",
      line: { color: ink(mine[ends[0]].color) }, showlegend: false };
  }) : [];
  const names = known.map((m) => ({ type: "scatter", mode: "markers", x: [null], y: [null],
    name: inLines(`${m + 1}  ${mine[m].short}`.replace(/ /g, "\u00a0") + (mine[m].family === null ? "" : ` · ${mine[m].family}`), narrow() ? 300 : 400, 11),
    marker: { color: ink(mine[m].color) }, hoverinfo: "skip" }));
  const long = names.reduce((sum, { name }) => sum + 4 + 16 * linesIn(name), 0);
  const legend = { itemclick: false, itemdoubleclick: false, maxheight: long + 40,
    ...(narrow() ? { orientation: "h", xref: "container", x: 0, yref: "container", y: 0, yanchor: "bottom" } : {}) };
  const drawAt = (moved, ranges) => draw("scatter", [...joined, points, ...leaders(moved), discs(moved), ...names], {
    height: Math.max(380, long + (narrow() ? 380 : 80)), legend,
    xaxis: { title: { text: inLines(chosen.name, 280) }, ...axis.layout, ...ranges.x },
    yaxis: { title: { text: inLines(valueWord(), 330) }, ...ranges.y } });
  return drawAt(place, {}).then(() => {
    const { xaxis, yaxis } = at("scatter")._fullLayout ?? {};
    if (!xaxis || !known.length) return undefined;
    const pixels = known.map((_, i) => [xaxis.d2p(place.x[i]), yaxis.d2p(place.y[i])]);
    const apart = spread(pixels, DISC + 1, [xaxis._length, yaxis._length]);
    return drawAt({ x: apart.map(([x]) => xaxis.p2d(x)), y: apart.map(([, y]) => yaxis.p2d(y)) },
      { x: { range: [...xaxis.range] }, y: { range: [...yaxis.range] } });
  });
}

// An axis of numbers, logarithmic where they span decades; a 0 stands a decade before the smallest of the others.
function numberAxis(values, log) {
  if (!log) return { place: (value) => value, layout: { type: "linear", tickvals: undefined, ticktext: undefined } };
  const positive = values.filter((value) => value > 0);
  const [low, high] = [Math.min(...positive), Math.max(...positive)];
  const decades = [];
  for (let power = Math.ceil(Math.log10(low) - 1e-9); power <= Math.log10(high) + 1e-9; power++) decades.push(10 ** power);
  const zero = values.includes(0) ? [low / 10] : [];
  const units = ["", "k", "M", "B", "T"];
  const word = (value) => {
    const step = Math.max(0, Math.min(4, Math.floor(Math.log10(value) / 3 + 1e-9)));
    return `${Number((value / 1000 ** step).toPrecision(3))}${units[step]}`;
  };
  return { place: (value) => (value === 0 ? low / 10 : value),
    layout: { type: "log", tickvals: [...zero, ...decades], ticktext: [...zero.map(() => "0"), ...decades.map(word)] } };
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
      ...[trained, random, trained - random].map((v) => (Number.isNaN(v) ? element("td", "none") : numberCell("td", v))));
    return made;
  }));
  at("controls").tBodies[0].replaceChildren(...rows);
}

function fillGroups() {
  const told = metric().groups;
  at("grouped").hidden = !told;
  if (!told) return;
  at("grouped-note").textContent = told.finding;
  at("groups").tBodies[0].replaceChildren(...told.rows.map(({ name, numbers }) => {
    const made = element("tr");
    made.append(element("th", name, { dir: "auto", scope: "row" }),
      ...numbers.map((v, place) => (v === null ? element("td", "none") : place % 2 ? element("td", v, { "data-value": v }) : numberCell("td", v))));
    return made;
  }));
}

// Analyses that the report was given: figures, tables and texts under a title.
function addSections() {
  content.sections.forEach(({ title, parts }, s) => {
    const made = element("section", undefined, { "aria-labelledby": `section-${s}`, class: "told" });
    made.append(element("h2", title, { id: `section-${s}`, dir: "auto" }));
    for (const { text, image, heads, rows, note } of parts) {
      if (text) made.append(element("p", text));
      if (image) made.append(element("img", undefined, { src: image, alt: title }));
      if (!heads) continue;
      const table = element("table");
      const head = table.createTHead().insertRow();
      head.append(...heads.map((word, column) => element("th", word, { scope: "col", ...(column ? {} : { class: "name" }) })));
      const body = table.createTBody();
      body.append(...rows.map((row) => {
        const line = element("tr");
        line.append(...row.map((value, column) => (value === null ? element("td", "–")
          : typeof value === "number" ? numberCell("td", value) : element("td", value, column ? {} : { class: "name", dir: "auto" }))));
        return line;
      }));
      const place = element("div", undefined, { class: "scroll tall", tabindex: "0", role: "region", "aria-label": title });
      place.append(table);
      const buttons = element("p", undefined, { class: "export" });
      addExports(buttons, title, title, () => tableCells(table));
      made.append(place, ...(note ? [element("p", note, { class: "note" })] : []), buttons);
    }
    at("made").before(made);
  });
}

function fillPartners() {
  const chosen = content.covariates[at("covariate").value];
  const others = chosen.side === "x" ? modelsY : modelsX;
  at("partner").replaceChildren(element("option", `the mean over all ${whom(chosen.side)}`, { value: "" }),
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

// The map as a table: models of x down, of y across, as they stand in the map.
function mapCells() {
  const [rows, columns] = at("map").order;
  const cell = (i, j) => (own(i, j) ? { text: "self" } : { text: digits(shown(i, j)), value: Number.isNaN(shown(i, j)) ? undefined : shown(i, j) });
  return { heads: [{ text: valueWord() }, ...columns.map((j) => ({ text: modelsY[j].name }))],
    rows: rows.map((i) => [{ text: modelsX[i].name }, ...columns.map((j) => cell(i, j))]) };
}

function drawAll() {
  at("finding").textContent = metric().finding;
  fillPairs();
  fillControls();
  fillGroups();
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
  at("metric").append(...Object.keys(content.metrics).map((name) => element("option", content.metrics[name].quantity, { value: name })));
  at("metric").value = state.metric;
  addExports(at("map-export"), "models", "Models by models", mapCells);
  addExports(at("pairs-export"), "pairs", "All model pairs", () => tableCells(at("pairs")));
  addExports(at("controls-export"), "training", "What training adds", () => tableCells(at("controls")));
  addExports(at("groups-export"), "families", "Within and between families", () => tableCells(at("groups")));
  addExports(at("layers-export"), "layers", "Layer by layer", () => tableCells(at("layer-table").querySelector("table")));
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
  addSections();
  at("gallery").hidden = !content.galleries.length;
  at("which").append(...content.galleries.map(({ place }, g) =>
    element("option", `${place.model_x}, ${place.layer_x} with ${place.model_y}, ${place.layer_y}`, { value: g })));
  at("which").addEventListener("change", drawGallery);
  drawGallery();
  const best = rows().map(({ i, j }) => ({ i, j, v: reduced(i, j) })).filter(({ v }) => !Number.isNaN(v));
  best.sort((one, two) => (metric().larger ? two.v - one.v : one.v - two.v));
  if (best.length) [state.i, state.j] = [best[0].i, best[0].j];
  state.down = metric().larger;
  phone.addEventListener("change", drawAll);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", () => setTheme(scheme.matches));
  at("theme").addEventListener("click", () => setTheme(at("theme").getAttribute("aria-pressed") !== "true"));
  setTheme(scheme.matches);
  afterPaint(() => {
    if (window.Plotly) return;
    loadPlotly();
    drawAll().then(() => {
      at("map").on("plotly_click", (event) => {
        const [rows, columns] = at("map").order;
        openPair(rows[event.points[0].pointNumber[0]], columns[event.points[0].pointNumber[1]], true);
      });
      document.documentElement.dataset.ready = "true";
    });
  });
}
start();
