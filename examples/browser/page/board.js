// The board's page: paints what its worker tells, and says what people do. Everything of Deltawire is in the worker.

import start, { Board } from "./deltawire_browser_demo.js";
import { History } from "./history.js";
import { COLOURS, Surface, colour } from "./surface.js";
import { People } from "./people.js";
import { draws } from "./pen.js";

const $ = id => document.getElementById(id);
const notes = $("notes"), slider = $("history"), ink = $("ink"), name = $("name");

const past = new History();
const waiting = new Map(); // strokes without a place yet, by id
const pen = { colour: 1 + Math.floor(Math.random() * (COLOURS - 1)), width: 60, stroke: null, pointer: null };
let shown = null; // so many entries are shown; null: all, live
let board;

const surface = new Surface($("strokes"), ink, (layer, draw) => {
  if (layer === 0) past.strokes(shown ?? past.length).forEach(draw);
  if (layer === 1 && shown === null) {
    [...waiting.values(), ...people.previews()].forEach(draw);
    if (pen.stroke) draw({ ...pen, points: pen.stroke });
  }
});
const people = new People(surface, $("cursors"), $("people"), $("count"));
surface.moved = () => people.moved();

const added = entry => {
  past.add(entry);
  $("hint").classList.add("away");
  slid();
};

// What the worker tells.
const painter = {
  stroke(position, time, id, colour, width, points) {
    const stroke = { kind: "stroke", position, time, colour, width, points: points.slice() };
    waiting.delete(id);
    people.finished(id.split("-")[0]);
    if (shown === null) surface.add(stroke);
    surface.touch(1);
    added(stroke);
  },
  clear(position, time) {
    added({ kind: "clear", position, time });
    surface.touch(0);
  },
  undo(position, time, target) {
    added({ kind: "undo", position, time, target });
    surface.touch(0);
  },
  change(position, time, at, removed, insert) {
    added({ kind: "change", position, time, at, removed, insert });
  },
  waits(id, colour, width, points) {
    waiting.set(id, { colour, width, points: points.slice() });
    surface.touch(1);
  },
  dropped(id) {
    waiting.delete(id);
    surface.touch(1);
  },
  reset() {
    past.reset();
    waiting.clear();
    if (shown === null) notes.value = "";
    surface.touch(0);
    surface.touch(1);
    slid();
  },
  present(writer, author, name, colour, width, points) {
    const pointer = points.length ? [points[0], points[1]] : null;
    people.present(writer, { author, name, colour, width, pointer, preview: [...points.slice(2)] });
    surface.touch(1);
  },
  gone(writer) {
    people.gone(writer);
    surface.touch(1);
  },
  alone() {
    people.alone();
    surface.touch(1);
  },
  text(text, at, removed, inserted) {
    if (shown !== null) return;
    // The caret stays where it is in the text.
    const moved = place => place <= at ? place : Math.max(at, place - removed) + inserted;
    const { selectionStart, selectionEnd, scrollTop } = notes;
    notes.value = text;
    if (document.activeElement === notes) notes.setSelectionRange(moved(selectionStart), moved(selectionEnd));
    notes.scrollTop = scrollTop;
  },
  status(state, kind, deltas, waits, next, digest) {
    $("state").textContent = state + (waits ? `, ${waits} to send` : "");
    $("link").dataset.state = state;
    $("kind").textContent = { webrtc: "WebRTC", websocket: "WebSocket", webtransport: "WebTransport" }[kind] ?? kind;
    $("digest").textContent = `${next - 1} ${digest}`;
    rate.deltas = deltas;
    notice(state === "reconnecting" && rate.wasLive
      ? "The server is away. Go on: what you draw is sent when it is back." : "");
    rate.wasLive ||= state === "live";
  },
  trouble: text => notice(text),
};

const notice = text => {
  $("notice").hidden = !text;
  $("notice").textContent = text;
};

const rate = { deltas: 0, before: 0, wasLive: false };
setInterval(() => {
  const now = rate.deltas - rate.before;
  rate.before = rate.deltas;
  $("rate").textContent = rate.wasLive ? `${now} delta${now === 1 ? "" : "s"}/s` : "";
}, 1_000);

// What this page looks like to others: at most once a picture.
let appearing = false;
const appear = () => {
  if (appearing) return;
  appearing = true;
  setTimeout(() => {
    appearing = false;
    const points = pen.pointer ? [...pen.pointer, ...(pen.stroke ?? [])] : [];
    board?.appear(name.value.trim(), pen.colour, pen.width, Int16Array.from(points));
  }, 33);
};

draws(surface, pen, {
  mayDraw() {
    if (shown === null) return true;
    show(null);
    return false;
  },
  moved: appear,
  drawing() {
    surface.touch(1);
    appear();
  },
  drawn(points) {
    board?.draw(pen.colour, pen.width, Int16Array.from(points));
    surface.touch(1);
    appear();
  },
});

// Tools.
const choice = (parent, count, label, make, choose) => {
  const buttons = Array.from({ length: count }, (_, index) => {
    const button = document.createElement("button");
    button.setAttribute("role", "radio");
    button.setAttribute("aria-label", `${label} ${index + 1}`);
    const mark = button.appendChild(document.createElement("i"));
    make(mark, index);
    button.addEventListener("click", () => pick(index));
    return parent.appendChild(button);
  });
  const pick = index => {
    buttons.forEach((button, at) => button.setAttribute("aria-checked", at === index));
    choose(index);
    appear();
  };
  return pick;
};
const WIDTHS = [30, 60, 120, 240];
choice($("palette"), COLOURS, "Colour", (mark, index) => mark.style.setProperty("--own", colour(index)), index => {
  pen.colour = index;
  $("me").style.setProperty("--own", colour(index));
})(pen.colour);
choice($("widths"), WIDTHS.length, "Width", (mark, index) => mark.style.setProperty("--size", `${4 + 4 * index}px`),
  index => { pen.width = WIDTHS[index]; })(1);

const undo = () => {
  show(null);
  board?.undo();
};
$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", () => {
  show(null);
  board?.clear();
});
addEventListener("keydown", event => {
  const typing = event.target === notes || event.target === name;
  if (typing || event.altKey || !(event.ctrlKey || event.metaKey)) return;
  if (event.key.toLowerCase() === "z" && !event.shiftKey) {
    event.preventDefault();
    undo();
  }
});

const ADJECTIVES = ["Brisk", "Calm", "Clever", "Gentle", "Kind", "Lucky", "Quiet", "Quick", "Sunny", "Wry"];
const ANIMALS = ["Badger", "Crane", "Fox", "Heron", "Lynx", "Marten", "Otter", "Raven", "Seal", "Wren"];
const any = list => list[Math.floor(Math.random() * list.length)];
name.value = new URLSearchParams(location.search).get("name") ?? localStorage.getItem("name")
  ?? `${any(ADJECTIVES)} ${any(ANIMALS)}`;
name.addEventListener("input", () => {
  localStorage.setItem("name", name.value);
  appear();
});
notes.addEventListener("input", () => board?.typed(notes.value));

// The slider through time.
const slid = () => {
  slider.max = past.length;
  if (shown === null) slider.value = past.length;
  const entry = past.entry(shown ?? past.length);
  $("moment").textContent = entry
    ? `${shown ?? past.length} of ${past.length} · ${new Date(entry.time).toLocaleTimeString()}` : "";
};
const show = count => {
  if (count === shown) return;
  const wasPast = shown !== null;
  shown = count;
  $("live").setAttribute("aria-pressed", count === null);
  $("board").classList.toggle("past", count !== null);
  notes.readOnly = count !== null;
  if (count !== null) notes.value = past.text(count);
  else if (wasPast) notes.value = board?.text() ?? "";
  surface.touch(0);
  surface.touch(1);
  slid();
};
slider.addEventListener("input", () => show(+slider.value === past.length ? null : +slider.value));
let replay = 0;
const stop = () => {
  clearInterval(replay);
  replay = 0;
};
slider.addEventListener("pointerdown", stop);
$("live").addEventListener("click", () => {
  stop();
  show(null);
});
$("play").addEventListener("click", () => {
  stop();
  // All of it in six seconds, and no faster than people see.
  const began = performance.now(), length = past.length, lasts = Math.min(6_000, length * 150);
  replay = setInterval(() => {
    const count = Math.ceil((performance.now() - began) / lasts * length);
    slider.value = count;
    show(count >= past.length ? null : count);
    if (count >= length) stop();
  }, 30);
});

// What the page shows, for tests.
globalThis.deltawireBoard = {
  shown: () => {
    const [positions, digest] = $("digest").textContent.split(" ");
    // Of the status that came last, which may be older than the strokes.
    const last = past.entry(past.length)?.position ?? 0;
    return { last, positions: +positions, digest, strokes: past.strokes().length, text: past.text(past.length) };
  },
};

// The figures have a page, and a worker, of their own.
const tabs = { board: $("board-panel"), figures: $("figures-panel") };
const turn = chosen => {
  for (const [id, panel] of Object.entries(tabs)) {
    panel.hidden = id !== chosen;
    $(`tab-${id}`).setAttribute("aria-selected", id === chosen);
  }
  if (chosen === "figures" && !tabs.figures.src) tabs.figures.src = `figures.html${location.search}`;
};
for (const id of Object.keys(tabs)) $(`tab-${id}`).addEventListener("click", () => turn(id));
if (location.hash === "#figures") turn("figures");

const kinds = ["websocket", "webrtc"].find(kind => new URLSearchParams(location.search).has(kind));
start().then(() => {
  board = new Board(painter, kinds ?? "webrtc,websocket");
  appear();
}).catch(error => notice(`This browser cannot run the board: ${error}`));
