import { both, everySecond, follow, now, showAges, words } from "./live.js";

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

// A pool with a number missing is not in standard, whether or not anybody says so.
function withholdPool() {
  const standing = document.querySelector(".standing");
  if (standing.dataset.state !== "in_standard") return;
  standing.dataset.state = "overdue";
  const badge = standing.querySelector(".badge");
  badge.dataset.state = "overdue";
  badge.querySelector("use").setAttribute("href", "/static/shapes.svg#overdue");
  badge.querySelectorAll(".zh, .en").forEach((word, index) => { word.textContent = words.states.overdue[index]; });
  standing.querySelector("p").replaceChildren(...both(words.advice.overdue));
}

function withholdExpired() {
  for (const value of document.querySelectorAll(".card .value[data-valid-until]")) {
    const until = value.dataset.validUntil;
    if (until && Date.parse(until) <= now() && value.textContent !== "—") {
      value.textContent = "—";
      const card = value.closest(".card");
      // Silence does not end an exceedance, nor hide it; one not yet confirmed is none.
      const exceeds = card.dataset.state === "out_of_standard" && card.dataset.reason !== "not_yet_confirmed";
      const state = exceeds ? (card.dataset.kind === "online" ? "unverified" : "retest_due") : "overdue";
      card.dataset.state = state;
      card.querySelectorAll("[data-word]").forEach((word, index) => { word.textContent = words.values[state][index]; });
      card.querySelector(".verdict use").setAttribute("href", `/static/shapes.svg#${state}`);
      if (state !== "retest_due") {
        const why = card.querySelector(".why");
        why.hidden = false;
        why.replaceChildren(...both(words[state][card.dataset.quantity]));
      }
      withholdPool();
    }
  }
}

follow(`/v1/stream?pool_id=${encodeURIComponent(poolId)}`, {
  onSnapshot() {
    wanted = true;
  },
  onLine(on) {
    document.querySelector("[data-live-on]").hidden = !on;
    document.querySelector("[data-live-off]").hidden = on;
  },
});
everySecond(() => {
  withholdExpired();
  showAges();
  if (wanted && performance.now() - lastFetch > 1900) refresh().catch(() => { wanted = true; });
});
