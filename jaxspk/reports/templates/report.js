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

// Timelines: a click on a turn plays it, a click beside plays from there; keys go from turn to turn.
const clockText = (seconds) => {
  const whole = Math.floor(seconds + 1e-6);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
};
for (const timeline of document.querySelectorAll(".timeline")) {
  const [audio, track, stretch, play, clock, speaking] = ["audio", ".track", ".stretch", ".play", ".clock", ".speaking"].map(
    (name) => timeline.querySelector(name),
  );
  const [cursor, now, axis] = [".over .cursor", ".over .now", ".axis"].map((name) => timeline.querySelector(name));
  const seconds = parseFloat(timeline.dataset.seconds);
  const lanes = [...timeline.querySelectorAll(".lane")];
  const turns = lanes
    .flatMap((lane) =>
      lane.dataset.turns
        .split(",")
        .filter(Boolean)
        .map((pair) => pair.split(" ").map(Number))
        .map(([start, end]) => ({ start, end, lane })),
    )
    .sort((a, b) => a.start - b.start);
  let zoom = 1;
  let until = Infinity;
  let at = 0;

  const turnsAt = (time) => turns.filter((turn) => turn.start <= time && time < turn.end);
  const show = () => {
    const across = `${(100 * at) / seconds}%`;
    cursor.setAttribute("x1", across);
    cursor.setAttribute("x2", across);
    clock.textContent = clockText(at);
    speaking.textContent = turnsAt(at).map((turn) => turn.lane.dataset.label).join(", ");
    const x = (stretch.clientWidth * at) / seconds;
    if (!audio.paused && (x < track.scrollLeft || x > track.scrollLeft + track.clientWidth)) track.scrollLeft = x - 40;
  };
  const mark = (turn) => {
    if (!turn) return void now.setAttribute("width", "0");
    const [box, lane] = [stretch.getBoundingClientRect(), turn.lane.getBoundingClientRect()];
    now.setAttribute("x", `${(100 * turn.start) / seconds}%`);
    now.setAttribute("width", `${(100 * (turn.end - turn.start)) / seconds}%`);
    now.setAttribute("y", lane.top - box.top);
    now.setAttribute("height", lane.height);
  };
  const follow = () => {
    if (audio.paused) return;
    at = audio.currentTime;
    if (at >= until) {
      audio.pause();
      at = until - 1e-3;
    }
    show();
    if (!audio.paused) requestAnimationFrame(follow);
  };
  const playFrom = (time, end = Infinity) => {
    at = time;
    until = end;
    show();
    if (!audio.src) return;
    audio.currentTime = time;
    // Whoever pauses or clicks on before it has begun to play breaks it off; that is no fault.
    audio.play().catch(() => {});
  };
  const playTurn = (turn) => {
    if (!turn) return;
    mark(turn);
    playFrom(turn.start, turn.end);
  };
  const toggle = () => {
    if (!audio.src) return;
    if (!audio.paused) return audio.pause();
    if (at >= until - 2e-3) mark(null);
    playFrom(at >= seconds - 0.05 ? 0 : at);
  };
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    play.textContent = "Pause";
    requestAnimationFrame(follow);
  });
  audio.addEventListener("pause", () => (play.textContent = "Play"));
  play.addEventListener("click", toggle);
  stretch.addEventListener("click", (event) => {
    const box = stretch.getBoundingClientRect();
    const time = Math.min(Math.max((seconds * (event.clientX - box.left)) / box.width, 0), seconds);
    const lane = event.target.closest(".lane");
    // What is a pixel or two wide can be hit, too.
    const near = (2 * seconds) / box.width;
    const turn = turns.find((one) => one.lane === lane && one.start - near <= time && time <= one.end + near);
    if (turn) return playTurn(turn);
    mark(null);
    playFrom(time);
  });
  track.addEventListener("keydown", (event) => {
    const next = () => turns.find((turn) => turn.start > at + 1e-3);
    const before = () => turns.findLast((turn) => turn.start < at - 0.5) ?? turns[0];
    const action = { ArrowRight: () => playTurn(next()), ArrowLeft: () => playTurn(before()), " ": toggle }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  timeline.querySelector(".choose input")?.addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (!file) return;
    audio.src = URL.createObjectURL(file);
    play.hidden = false;
    speaking.textContent = file.name;
  });

  // The axis: ticks as dense as there is room for.
  const drawAxis = () => {
    const room = 76;
    const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
    const step = steps.find((one) => (stretch.clientWidth * one) / seconds >= room) ?? 86400;
    const made = [];
    const add = (name, attributes, text = "") => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      element.textContent = text;
      made.push(element);
    };
    for (let time = 0; time <= seconds; time += step) {
      const x = `${(100 * time) / seconds}%`;
      add("line", { x1: x, x2: x, y1: 0, y2: 6 });
      add("text", { x, dx: 3, y: 17 }, clockText(time));
    }
    axis.replaceChildren(...made);
  };
  const setZoom = (wanted) => {
    // A screen shows no less than a few seconds; the place in the middle stays there.
    const most = Math.max(1, seconds / 8);
    const middle = (track.scrollLeft + track.clientWidth / 2) / stretch.clientWidth;
    zoom = Math.min(Math.max(wanted, 1), most);
    stretch.style.width = `${100 * zoom}%`;
    track.scrollLeft = middle * stretch.clientWidth - track.clientWidth / 2;
    drawAxis();
  };
  timeline.querySelector(".zoom .in").addEventListener("click", () => setZoom(zoom * 2));
  timeline.querySelector(".zoom .out").addEventListener("click", () => setZoom(zoom / 2));
  new ResizeObserver(drawAxis).observe(track);
  show();
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
