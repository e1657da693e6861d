"use strict";

// Tables: a click on a heading sorts by that column, a second one the other way round.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.dataset.name = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const number = heading.classList.contains("number");
      // Numbers start with the highest, names with A.
      const before = heading.getAttribute("aria-sort");
      const ascending = before ? before === "descending" : !number;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const keyed = [...body.rows].map((row) => {
        const cell = row.cells[column];
        return { row, key: number ? parseFloat(cell.dataset.value) : cell.textContent };
      });
      const missing = (key) => Number.isNaN(key);
      keyed.sort((a, b) => {
        // What was not measured stays at the end, whichever way the rest is sorted.
        if (missing(a.key) || missing(b.key)) return missing(a.key) - missing(b.key);
        const order = number ? a.key - b.key : a.key.localeCompare(b.key, undefined, { numeric: true });
        return ascending ? order : -order;
      });
      body.append(...keyed.map((entry) => entry.row));
    });
  });
}

// Sounds: one plays at a time; a line runs along the outline; a click on the outline moves there.
const players = [...document.querySelectorAll(".sound")];
for (const player of players) {
  const audio = player.querySelector("audio");
  const outline = player.querySelector(".outline");
  const cursor = player.querySelector(".cursor");
  const follow = () => {
    player.classList.add("started");
    const share = audio.duration ? audio.currentTime / audio.duration : 0;
    const across = `${100 * share}%`;
    cursor.setAttribute("x1", across);
    cursor.setAttribute("x2", across);
    if (!audio.paused) requestAnimationFrame(follow);
  };
  audio.addEventListener("play", () => {
    for (const other of players) {
      const theirs = other.querySelector("audio");
      if (theirs !== audio) theirs.pause();
    }
    follow();
  });
  audio.addEventListener("seeked", follow);
  outline.addEventListener("click", (event) => {
    const box = outline.getBoundingClientRect();
    if (Number.isFinite(audio.duration)) audio.currentTime = (audio.duration * (event.clientX - box.left)) / box.width;
  });
}

// Contents: the section in sight is marked.
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const sight = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  },
  { rootMargin: "-15% 0px -75% 0px" },
);
for (const section of document.querySelectorAll("main > section")) sight.observe(section);

// Paper cannot be clicked: what is folded is printed open.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
