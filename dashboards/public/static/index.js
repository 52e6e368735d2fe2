import { both, everySecond, follow, number, shape, element, showAges, withheld, words } from "./live.js";

const rows = document.querySelector("[data-rows]");
const order = ["out_of_standard", "overdue", "suspect", "in_standard", "maintenance", "closed", "not_connected"];
const valueOrder = ["out_of_standard", "unverified", "retest_due", "overdue", "suspect", "advice", "in_standard"];
const snapshots = new Map();

function fill(cell, ...children) {
  cell.replaceChildren(...children);
}

function show(snapshot) {
  const row = rows.querySelector(`[data-pool="${CSS.escape(snapshot.pool_id)}"]`);
  if (row === null) return;
  row.dataset.state = snapshot.state;
  const cell = (name) => row.querySelector(`[data-cell="${name}"]`);
  fill(cell("state"), element("span", { class: "badge", "data-state": snapshot.state }, shape(snapshot.state), ...both(words.states[snapshot.state])));
  const worst = [...snapshot.values].sort((a, b) => valueOrder.indexOf(a.state) - valueOrder.indexOf(b.state))[0];
  const reason = snapshot.reason ?? snapshot.values.find((value) => value.reason !== null)?.reason ?? null;
  fill(cell("reason"), ...(reason ? both([reason.zh, reason.en]) : []));
  for (const value of snapshot.values) {
    const found = cell(value.quantity);
    if (found !== null) fill(found, element("span", { class: "value", "data-state": value.state }, number(value)), " ", element("span", { class: "unit" }, value.unit));
  }
  if (worst?.measured_at) fill(cell("age"), element("time", { datetime: worst.measured_at, "data-age": "" }));
  showAges(row);
}

// As the server sorts, so that no row jumps when the page comes alive.
const compare = (a, b) => (a < b ? -1 : Number(a > b));

function sortRows() {
  const rank = (row) => order.indexOf(row.dataset.state);
  const before = [...rows.children];
  const sorted = [...before].sort((a, b) => rank(a) - rank(b) || compare(a.dataset.in, b.dataset.in) || compare(a.dataset.name, b.dataset.name) || compare(a.dataset.pool, b.dataset.pool));
  if (sorted.some((row, index) => row !== before[index])) rows.append(...sorted);
  for (const item of document.querySelectorAll("[data-count]")) {
    const count = before.filter((row) => row.dataset.state === item.dataset.count).length;
    item.querySelector("b").textContent = count;
    item.classList.toggle("none", count === 0);
  }
}

const text = document.querySelector("[data-filter]");
const district = document.querySelector("[data-district]");
function filter() {
  const wanted = text.value.trim().toLowerCase();
  let left = 0;
  for (const row of rows.children) {
    row.hidden = !row.dataset.search.includes(wanted) || (district.value !== "" && row.dataset.in !== district.value);
    left += row.hidden ? 0 : 1;
  }
  document.querySelector("[data-empty]").hidden = left > 0;
}
text.addEventListener("input", filter);
district.addEventListener("change", filter);

let stale = false;
follow("/v1/stream", {
  onSnapshot(snapshot) {
    snapshots.set(snapshot.pool_id, snapshot);
    show(withheld(snapshot));
    stale = true;
  },
  onLine(on) {
    document.querySelector("[data-live-on]").hidden = !on;
    document.querySelector("[data-live-off]").hidden = on;
  },
});
everySecond(() => {
  for (const [poolId, snapshot] of snapshots) {
    const kept = withheld(snapshot);
    if (kept !== snapshot) {
      snapshots.set(poolId, kept);
      show(kept);
      stale = true;
    }
  }
  if (stale) sortRows();
  stale = false;
  showAges();
});
