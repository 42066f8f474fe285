"use strict";
// What a page does that `mlbroker ui` serves: it follows what it shows.
(() => {
  const own = document.documentElement.dataset.version;
  const busy = () => [...document.querySelectorAll("[data-filter]")].some((box) => box.value);
  const say = (text) => { document.getElementById("news").textContent = text; };
  const source = new EventSource("./events");
  let stale = false;

  function renew() {
    if (!stale || document.visibilityState !== "visible") return;
    // Who filters a table is not interrupted.
    if (!busy()) location.reload();
    else say("There is news: reload to see it.");
  }

  source.addEventListener("message", (event) => {
    stale = event.data !== own;
    say("");
    renew();
  });
  source.addEventListener("error", () => say("Nobody serves this page any more: it may be old."));
  document.addEventListener("visibilitychange", renew);
})();
