"use strict";
// The page says everything without this script: it adds reading a map dot by dot with the arrow keys or a touch, and hiding methods in the curves.
for (const map of document.querySelectorAll("svg.map")) {
  const dots = Array.from(map.querySelectorAll("circle"));
  const said = document.createElement("p");
  said.className = "note";
  said.setAttribute("aria-live", "polite");
  map.after(said);
  let at = -1;
  const show = (next) => {
    if (!dots.length) return;
    if (dots[at]) dots[at].classList.remove("here");
    at = (next + dots.length) % dots.length;
    dots[at].classList.add("here");
    said.textContent = dots[at].textContent;
  };
  map.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    // Chosen dots come last: the first step back from nowhere meets one.
    show(at < 0 && step < 0 ? dots.length - 1 : at + step);
  });
  map.addEventListener("click", (event) => {
    const dot = dots.indexOf(event.target.closest("circle"));
    if (dot >= 0) show(dot);
  });
}
for (const item of document.querySelectorAll(".legend.lines li")) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", "true");
  button.append(...item.childNodes);
  item.append(button);
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    const around = item.closest("details") || item.closest("section");
    for (const line of around.querySelectorAll(`g[data-s="${item.dataset.s}"]`)) line.classList.toggle("off", !on);
  });
}
// Paper has no way to open what is folded.
const folded = () => Array.from(document.querySelectorAll("details:not([open])"));
let opened = [];
addEventListener("beforeprint", () => { opened = folded(); for (const part of opened) part.open = true; });
addEventListener("afterprint", () => { for (const part of opened) part.open = false; });
