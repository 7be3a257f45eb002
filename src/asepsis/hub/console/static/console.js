// What every page does by itself: the clock, the contact with the hub, local times, safe refreshing.
// Foreign text never becomes markup here: it arrives escaped from the hub, or as textContent.
"use strict";

(() => {
  // htmx parses what the hub rendered; anything that could run is refused before it is parsed.
  const RUNS = /<\s*(script|iframe|object|embed|base|meta|link|style)\b|<[^>]*\son[a-z]+\s*=|javascript:/i;
  if (window.trustedTypes && trustedTypes.createPolicy) {
    trustedTypes.createPolicy("default", {
      createHTML(text) {
        if (RUNS.test(text)) throw new TypeError("refused: markup that runs");
        return text;
      },
    });
  }

  const $ = (id) => document.getElementById(id);
  const two = (n) => String(n).padStart(2, "0");
  const clockText = (d) => `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  const momentText = (d) =>
    `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clockText(d)}`;

  function localTimes(root) {
    for (const each of root.querySelectorAll("time[data-moment]")) {
      const at = new Date(each.dateTime);
      if (!Number.isNaN(at.getTime())) {
        each.title = each.textContent;
        each.textContent = momentText(at);
      }
      each.removeAttribute("data-moment");
    }
  }

  // The hub's clock, not this computer's: what is read at the bed must agree with the records.
  let ahead = 0;
  function startClock() {
    const clock = $("clock");
    if (!clock) return;
    ahead = new Date(clock.dateTime).getTime() - Date.now();
    const tick = () => {
      const now = new Date(Date.now() + ahead);
      clock.textContent = clockText(now);
      setTimeout(tick, 1000 - (now.getTime() % 1000));
    };
    tick();
  }

  // state: "waiting", "good" or "lost".
  let lostAt = null;
  function contact(state) {
    const badge = $("contact");
    if (!badge) return;
    if (state === "lost" && lostAt === null) {
      lostAt = new Date(Date.now() + ahead);
      $("lost-since").textContent = `Since ${clockText(lostAt)}.`;
    }
    if (state !== "lost") lostAt = null;
    if (badge.dataset.state === state) return;
    badge.dataset.state = state;
    badge.querySelector(".contact-text").textContent = state === "lost" ? "No contact" : "Hub";
    $("lost").hidden = state !== "lost";
    document.body.classList.toggle("is-lost", state === "lost");
    const clock = $("clock");
    if (clock) clock.title = state === "lost" ? "This computer's time: the hub is not heard" : "";
  }

  // A page with a stream says itself how its stream is; that the hub answers must not hide it.
  const streams = () => document.body.classList.contains("live");

  function signedOut() {
    location.assign(`/sign-in?ended=1&next=${encodeURIComponent(location.pathname)}`);
  }

  // Whether the session is good, and, for a page without a stream, whether the hub answers.
  const ASK_EVERY_MS = 4000;
  async function ask() {
    try {
      const answer = await fetch("/api/session", {
        headers: { "HX-Request": "true" },
        cache: "no-store",
        redirect: "error",
        signal: AbortSignal.timeout(ASK_EVERY_MS),
      });
      if (answer.status === 401) return signedOut();
      if (!streams()) contact(answer.ok ? "good" : "lost");
    } catch {
      if (!streams()) contact("lost");
    }
    setTimeout(ask, ASK_EVERY_MS);
  }

  // For the scripts of live pages.
  window.asepsis = Object.freeze({
    csrf: () => document.querySelector("meta[name=csrf]")?.content ?? "",
    hubNow: () => Date.now() + ahead,
    clockText,
    contact,
    signedOut,
  });

  document.addEventListener("DOMContentLoaded", () => {
    localTimes(document);
    startClock();
    document.body.addEventListener("htmx:afterSwap", (event) => localTimes(event.target));
    if (document.querySelector(".who")) ask();
  });
})();
