"use strict";

// Theme: that of the system until a person chooses one, which is remembered where the browser allows it.
const root = document.documentElement;
const theme = document.getElementById("theme");
const darkSystem = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : darkSystem.matches;
}

function showTheme() {
  theme.textContent = isDark() ? "Light" : "Dark";
  theme.setAttribute("aria-label", `Use the ${isDark() ? "light" : "dark"} theme`);
}

function remember(action) {
  try {
    return action(localStorage);
  } catch {
    return null; // a page from a file may have no storage
  }
}

const chosen = remember((storage) => storage.getItem("vitrun-theme"));
if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  remember((storage) => storage.setItem("vitrun-theme", root.dataset.theme));
  showTheme();
});
darkSystem.addEventListener("change", showTheme);
theme.hidden = false;
showTheme();

// Sorting: by the value of a cell, its number if it begins with one; empty cells last in both directions.
function orderOf(cell) {
  const text = (cell.dataset.order ?? cell.textContent).trim();
  const number = parseFloat(text.replaceAll(",", ""));
  return { text, number, isEmpty: text === "" };
}

function compareCells(a, b, sign) {
  if (a.isEmpty || b.isEmpty) return a.isEmpty - b.isEmpty;
  if (!Number.isNaN(a.number) && !Number.isNaN(b.number) && a.number !== b.number) return sign * (a.number - b.number);
  return sign * a.text.localeCompare(b.text, "en", { numeric: true });
}

function sortBy(header) {
  const table = header.closest("table");
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row) => [orderOf(row.cells[header.cellIndex]), row]);
  rows.sort(([a], [b]) => compareCells(a, b, ascending ? 1 : -1));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}

// Filter: all words must be in a row of an index table; what has the key of a row that is hidden is hidden too.
const filter = document.getElementById("filter");
if (filter) {
  const index = [...document.querySelectorAll("table[data-index] tr[data-key]")];
  const texts = index.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
  const output = filter.form.querySelector("output");
  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = texts.map((text) => words.every((word) => text.includes(word)));
    const shown = new Set(index.filter((_, number) => matches[number]).map((row) => row.dataset.key));
    const known = new Set(index.map((row) => row.dataset.key));
    for (const element of document.querySelectorAll("[data-key]")) {
      const keys = element.dataset.key.split("\n"); // a row may be about several things
      element.hidden = keys.some((key) => known.has(key)) && !keys.some((key) => shown.has(key));
    }
    output.textContent = `${shown.size} of ${known.size} ${output.dataset.things}`;
  };
  filter.addEventListener("input", apply);
  filter.form.addEventListener("submit", (event) => event.preventDefault());
  filter.form.hidden = false;
  apply();
}

// A link to something that is folded opens it.
function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();

// Printing: all that is folded is opened, and folded again afterwards.
const opened = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    opened.push(details);
  }
});
addEventListener("afterprint", () => {
  for (const details of opened.splice(0)) details.open = false;
});
