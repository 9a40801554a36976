// Who is there: their cursors, and the list of them.

import { SIZE, colour } from "./surface.js";

const ARROW = "<svg viewBox='0 0 18 18'><path d='M2 2l5.5 13.5 2-5.7 5.8-2z'/></svg>";

export class People {
  #all = new Map();

  constructor(surface, cursors, list, count) {
    Object.assign(this, { surface, cursors, list, count });
    this.#number();
  }

  #number() { this.count.textContent = this.#all.size + 1; }

  present(writer, person) {
    let known = this.#all.get(writer);
    if (!known) {
      const cursor = document.createElement("div");
      cursor.className = "cursor";
      cursor.innerHTML = `${ARROW}<span></span>`;
      const row = document.createElement("li");
      row.append(document.createElement("i"), document.createElement("span"));
      this.cursors.append(cursor);
      this.list.append(row);
      known = { cursor, row };
      this.#all.set(writer, known);
      this.#number();
    }
    Object.assign(known, person);
    for (const element of [known.cursor, known.row]) {
      element.style.setProperty("--own", colour(person.colour));
      element.querySelector("span").textContent = person.name || "somebody";
    }
    this.#move(known);
  }

  #move({ cursor, pointer }) {
    cursor.style.opacity = pointer ? 1 : 0;
    if (pointer) {
      const [x, y] = this.surface.position(pointer);
      cursor.classList.toggle("right", pointer[0] > SIZE[0] * 0.85);
      cursor.style.transform = `translate(${x - 2}px, ${y - 2}px)`;
    }
  }

  // The board has another size.
  moved() { this.#all.forEach(known => this.#move(known)); }

  gone(writer) {
    const known = this.#all.get(writer);
    known?.cursor.remove();
    known?.row.remove();
    this.#all.delete(writer);
    this.#number();
  }

  alone() { [...this.#all.keys()].forEach(writer => this.gone(writer)); }

  // A stroke of this author has its place: it is not drawn as a preview any more.
  finished(author) {
    for (const known of this.#all.values()) {
      if (known.author === author) known.preview = [];
    }
  }

  // What others are drawing at this moment.
  previews() {
    return [...this.#all.values()].filter(({ preview }) => preview.length > 0)
      .map(({ colour, width, preview }) => ({ colour, width, points: preview }));
  }
}
