import { everySecond, follow, now, showAges } from "./live.js";

// The server makes the page; a change fetches it again and swaps its parts, so that there is one way to draw it.
const poolId = document.body.dataset.pool;
let wanted = false;
let lastFetch = 0;

async function refresh() {
  wanted = false;
  lastFetch = performance.now();
  const answer = await fetch(location.pathname, { headers: { accept: "text/html" } });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    if (other !== null) part.replaceChildren(...other.childNodes);
  }
  showAges();
}

function withholdExpired() {
  for (const value of document.querySelectorAll(".card .value[data-valid-until]")) {
    const until = value.dataset.validUntil;
    if (until && Date.parse(until) <= now() && value.textContent !== "—") {
      value.textContent = "—";
      const card = value.closest(".card");
      card.dataset.state = "overdue";
      const [zh, en] = card.querySelectorAll("[data-word]");
      zh.textContent = "逾期";
      en.textContent = "overdue";
      card.querySelector(".verdict use").setAttribute("href", "/static/shapes.svg#overdue");
    }
  }
}

follow(`/v1/stream?pool_id=${encodeURIComponent(poolId)}`, {
  onSnapshot() {
    wanted = true;
  },
  onLine() {},
});
everySecond(() => {
  withholdExpired();
  showAges();
  if (wanted && performance.now() - lastFetch > 1900) refresh().catch(() => { wanted = true; });
});
