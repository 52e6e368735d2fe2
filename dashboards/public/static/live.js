// What every page shares: the server's clock, the stream, ages, and numbers that leave at their deadline.

export const words = JSON.parse(document.getElementById("words").textContent);

// The screen's own clock may be wrong: only its pace is trusted. performance.now() does not jump when it is set.
let serverMs = Number(document.body.dataset.now);
let readAt = performance.now();
export const now = () => serverMs + (performance.now() - readAt);

function setClock(ms) {
  serverMs = ms;
  readAt = performance.now();
}

export function age(iso) {
  const seconds = Math.max(0, Math.floor((now() - Date.parse(iso)) / 1000));
  if (seconds < 100) return { zh: `${seconds} 秒前`, en: `${seconds} s ago` };
  const minutes = Math.floor(seconds / 60);
  if (minutes < 100) return { zh: `${minutes} 分钟前`, en: `${minutes} min ago` };
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return { zh: `${hours} 小时前`, en: `${hours} h ago` };
  const days = Math.floor(hours / 24);
  return { zh: `${days} 天前`, en: `${days} days ago` };
}

const sideOf = (value, end) => Math.sign(value - end);

// As many digits as the quantity has, and more where rounding would move the number across a limit.
export function number(value) {
  if (value.value === null) return "—";
  let digits = words.digits[value.quantity] ?? 2;
  while (digits < 6 && value.limit.some((end) => end !== null && sideOf(Number(value.value.toFixed(digits)), end) !== sideOf(value.value, end))) digits += 1;
  return value.value.toFixed(digits);
}

export function limit([low, high]) {
  if (low !== null && high !== null) {
    const digits = Math.max(...[low, high].map((end) => (String(end).split(".")[1] ?? "").length));
    return `${low.toFixed(digits)}–${high.toFixed(digits)}`;
  }
  if (high !== null) return `≤ ${high}`;
  return low === null ? "" : `≥ ${low}`;
}

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, content] of Object.entries(attributes)) if (content !== null) made.setAttribute(key, content);
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function shape(state) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "shape");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/static/shapes.svg#${state}`);
  svg.append(use);
  return svg;
}

export function both([zh, en]) {
  return [element("span", { class: "zh" }, zh), " ", element("span", { class: "en", lang: "en" }, en)];
}

// Values whose deadline has passed lose their number, whether or not anybody says so.
export function withheld(snapshot) {
  let gone = false;
  let overdue = null;
  const values = snapshot.values.map((value) => {
    if (value.value === null || value.valid_until === null || Date.parse(value.valid_until) > now()) return value;
    // Silence does not end an exceedance, nor hide it.
    if (value.state === "out_of_standard" && value.reason?.code !== "not_yet_confirmed") {
      const [zh, en] = words.unverified[value.quantity];
      gone = true;
      if (value.kind !== "online") return { ...value, value: null, state: "retest_due" };
      return { ...value, value: null, state: "unverified", reason: { code: "unverified_since", since: value.measured_at, zh, en } };
    }
    const [zh, en] = words.overdue[value.quantity];
    const reason = { code: "no_result_in_time", since: value.valid_until, zh, en };
    gone = true;
    overdue ??= reason;
    return { ...value, value: null, state: "overdue", reason };
  });
  if (!gone) return snapshot;
  if (snapshot.state !== "in_standard" || overdue === null) return { ...snapshot, values };
  return { ...snapshot, values, state: "overdue", reason: overdue };
}

// Follows the stream; the browser connects again by itself, and this does where it has given up.
export function follow(path, { onSnapshot, onLine }) {
  let source = null;
  let lastHeard = performance.now();
  const heard = () => {
    lastHeard = performance.now();
    onLine(true);
  };
  const open = () => {
    source?.close();
    source = new EventSource(path);
    source.addEventListener("clock", (event) => {
      setClock(Date.parse(JSON.parse(event.data).now));
      heard();
    });
    source.addEventListener("snapshot", (event) => {
      onSnapshot(JSON.parse(event.data));
      heard();
    });
    source.addEventListener("error", () => onLine(false));
  };
  open();
  setInterval(() => {
    if (performance.now() - lastHeard > 30000) {
      onLine(false);
      lastHeard = performance.now();
      open();
    }
  }, 5000);
}

export function everySecond(action) {
  action();
  setInterval(action, 1000);
}

export function showAges(root = document) {
  for (const time of root.querySelectorAll("[data-age]")) {
    const { zh, en } = age(time.getAttribute("datetime"));
    const text = `${zh} ${en}`;
    if (time.textContent !== text) time.replaceChildren(...both([zh, en]));
  }
}
