import { age, both, element, everySecond, follow, limit, now, number, shape, withheld, words } from "./live.js";

let snapshot = JSON.parse(document.getElementById("snapshot").textContent);
const find = (name) => document.querySelector(`[data-${name}]`);
const clock = new Intl.DateTimeFormat("zh-CN", { timeZone: snapshot.time_zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function card(value) {
  const [zh, en] = words.quantities[value.quantity];
  const word = words.values[value.state];
  const unit = value.unit === "" ? "" : ` ${value.unit}`;
  const bounds = limit(value.limit);
  return element(
    "li",
    { class: "card", "data-state": value.state },
    element("h2", {}, ...both([zh, en])),
    element("p", { class: "reading" }, element("span", { class: "value", "data-chars": number(value).length }, number(value)), element("span", { class: "unit" }, value.unit)),
    element("p", { class: "verdict" }, shape(value.state), ...both(word)),
    bounds === "" ? null : element("p", { class: "limit" }, ...both(value.binding ? ["限值", "limit"] : ["推荐", "recommended"]), " ", element("span", { class: "bounds" }, `${bounds}${unit}`)),
    // Word and limit say this one already.
    value.reason === null || value.reason.code === "outside_limit" ? null : element("p", { class: "why" }, ...both([value.reason.zh, value.reason.en])),
    element("p", { class: "when", "data-measured": value.measured_at, "data-kind": value.kind }),
  );
}

let drawn = null;
function draw() {
  const shown = withheld(snapshot);
  if (shown !== snapshot) snapshot = shown;
  if (drawn !== shown) {
    drawn = shown;
    document.body.dataset.state = shown.state;
    find("shape").setAttribute("href", `/static/shapes.svg#${shown.state}`);
    const [zh, en] = words.states[shown.state];
    setText(find("state-zh"), zh);
    setText(find("state-en"), en);
    const [adviceZh, adviceEn] = words.advice[shown.state];
    setText(find("why-zh"), shown.reason?.zh ?? adviceZh);
    setText(find("why-en"), shown.reason?.en ?? adviceEn);
    const first = shown.values.slice(0, 4);
    find("values").dataset.count = first.length;
    find("values").replaceChildren(...first.map(card));
  }
  for (const node of document.querySelectorAll("[data-measured]")) {
    const passed = age(node.dataset.measured);
    const [kindZh, kindEn] = words.kinds[node.dataset.kind];
    setText(node, `${kindZh} ${passed.zh} · ${kindEn} ${passed.en}`);
  }
  setText(find("published"), `公示于 published ${clock.format(new Date(shown.published_at))}`);
  setText(find("clock"), clock.format(new Date(now())));
}

follow(`/v1/stream?pool_id=${encodeURIComponent(document.body.dataset.pool)}`, {
  onSnapshot(fresh) {
    snapshot = fresh;
    draw();
  },
  onLine(on) {
    find("lost").hidden = on;
  },
});
everySecond(draw);
