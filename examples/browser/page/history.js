// What happened on the board, in order, and what was to be seen at each moment.

export class History {
  #entries = [];
  // By whose position something was taken back.
  #undone = new Map();

  get length() { return this.#entries.length; }

  reset() {
    this.#entries = [];
    this.#undone.clear();
  }

  add(entry) {
    this.#entries.push(entry);
    if (entry.kind === "undo") this.#undone.set(entry.target, entry.position);
  }

  entry(count) { return this.#entries[count - 1]; }

  // The strokes that were there after so many entries.
  strokes(count = this.length) {
    const now = this.entry(count)?.position ?? 0;
    const strokes = [];
    for (const entry of this.#entries.slice(0, count)) {
      if ((this.#undone.get(entry.position) ?? Infinity) <= now) continue;
      if (entry.kind === "stroke") strokes.push(entry);
      if (entry.kind === "clear") strokes.length = 0;
    }
    return strokes;
  }

  // The text that was there.
  text(count) {
    let text = "";
    for (const { kind, at, removed, insert } of this.#entries.slice(0, count)) {
      if (kind === "change") text = text.slice(0, at) + insert + text.slice(at + removed);
    }
    return text;
  }
}
