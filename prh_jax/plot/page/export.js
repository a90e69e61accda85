"use strict";
// Tables as files, made here from what the page shows: nothing is asked of a network.

// What a table holds: heads, and rows of cells { text, value }; a number is exported as CSV in full.
function tableCells(table) {
  const read = (cell) => ({ text: cell.dataset.text ?? cell.textContent, value: cell.dataset.value });
  return { heads: [...table.tHead.rows[0].cells].map(read), rows: [...table.tBodies[0].rows].map((row) => [...row.cells].map(read)) };
}

function csvOf({ heads, rows }) {
  const quoted = (text) => `"${String(text).replace(/"/g, '""')}"`;
  return [heads, ...rows].map((row) => row.map(({ text, value }) => value ?? quoted(text)).join(",")).join("\r\n") + "\r\n";
}

function latexOf({ heads, rows }) {
  const escaped = (text) => [...String(text)].map((sign) => content.latex[sign] ?? sign).join("");
  const upright = heads.length > 9;
  const head = heads.map(({ text }, place) => (upright && place ? `\\rotatebox{90}{${escaped(text)}}` : escaped(text)));
  const columns = heads.map((_, place) => (rows.some((row) => row[place].value !== undefined) ? "r" : "l")).join("");
  return [`% needs \\usepackage{booktabs}${upright ? " and \\usepackage{graphicx}" : ""}`, `\\begin{tabular}{${columns}}`, "\\toprule",
    `${head.join(" & ")} \\\\`, "\\midrule",
    ...rows.map((row) => `${row.map(({ text }) => escaped(text)).join(" & ")} \\\\`), "\\bottomrule", "\\end{tabular}", ""].join("\n");
}

function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

// The two buttons of a table; `cells` is asked for what it holds when one is pressed.
function addExports(place, name, what, cells) {
  for (const [word, end, made] of [["CSV", "csv", csvOf], ["LaTeX", "tex", latexOf]]) {
    const button = element("button", word, { type: "button", "aria-label": `${what} as ${word}` });
    button.addEventListener("click", () => save(`${name}-${state.metric}.${end}`.replace(/[^\w.-]+/g, "_"), made(cells())));
    place.append(button);
  }
}
