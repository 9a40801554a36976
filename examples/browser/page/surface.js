// Where strokes are drawn: two canvases, one for what has its place and one for what is being drawn.

export const SIZE = [16_000, 10_000];

// The colours of the theme, as the style sheet has them.
export const COLOURS = 8;
export const colour = index => `var(--c${index % COLOURS})`;

// A smooth line through points: x and y in turn.
const trace = (context, { colour, width, points }, colours) => {
  context.strokeStyle = context.fillStyle = colours[colour % COLOURS];
  context.lineWidth = width;
  context.beginPath();
  if (points.length === 2) {
    context.arc(points[0], points[1], width / 2, 0, 2 * Math.PI);
    context.fill();
    return;
  }
  context.moveTo(points[0], points[1]);
  let at = 2;
  for (; at < points.length - 2; at += 2) {
    const middle = [(points[at] + points[at + 2]) / 2, (points[at + 1] + points[at + 3]) / 2];
    context.quadraticCurveTo(points[at], points[at + 1], ...middle);
  }
  context.lineTo(points[at], points[at + 1]);
  context.stroke();
};

export class Surface {
  #contexts;
  #colours = [];
  #scale = 1;
  #left = 0;
  #top = 0;
  #dirty = new Set();

  // `paint(layer, draw)` is asked to draw everything of a layer: 0 is below.
  constructor(below, above, paint) {
    this.element = above;
    this.#contexts = [below, above].map(canvas => canvas.getContext("2d"));
    this.paint = paint;
    // Called once the page is laid out, too.
    new ResizeObserver(() => this.#fit()).observe(above);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#fit());
  }

  #fit() {
    const { width, height } = this.element.getBoundingClientRect();
    const probe = document.createElement("i");
    this.element.after(probe);
    this.#colours = Array.from({ length: COLOURS }, (_, index) => {
      probe.style.color = colour(index);
      return getComputedStyle(probe).color;
    });
    probe.remove();
    // All of the board is seen, in the middle.
    this.#scale = Math.min(width / SIZE[0], height / SIZE[1]) || 1;
    this.#left = (width - SIZE[0] * this.#scale) / 2;
    this.#top = (height - SIZE[1] * this.#scale) / 2;
    const density = devicePixelRatio || 1;
    for (const context of this.#contexts) {
      context.canvas.width = Math.round(width * density);
      context.canvas.height = Math.round(height * density);
      const scale = this.#scale * density;
      context.setTransform(scale, 0, 0, scale, this.#left * density, this.#top * density);
      context.lineCap = context.lineJoin = "round";
    }
    this.#contexts.forEach((_, layer) => this.#paint(layer));
    this.moved?.();
  }

  // Draws a layer anew when the next picture is made.
  touch(layer) {
    if (this.#dirty.size === 0) {
      requestAnimationFrame(() => {
        const layers = [...this.#dirty];
        this.#dirty.clear();
        layers.forEach(layer => this.#paint(layer));
      });
    }
    this.#dirty.add(layer);
  }

  #paint(layer) {
    const context = this.#contexts[layer];
    context.save();
    context.resetTransform();
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    context.restore();
    this.paint(layer, stroke => trace(context, stroke, this.#colours));
  }

  // Draws one stroke more on the lower layer.
  add(stroke) {
    if (!this.#dirty.has(0)) trace(this.#contexts[0], stroke, this.#colours);
  }

  // Where on the board an event is.
  place({ clientX, clientY }) {
    const { left, top } = this.element.getBoundingClientRect();
    const x = (clientX - left - this.#left) / this.#scale;
    const y = (clientY - top - this.#top) / this.#scale;
    const bound = value => Math.max(-32_768, Math.min(32_767, Math.round(value)));
    return [bound(x), bound(y)];
  }

  // Where in the element a place on the board is.
  position([x, y]) {
    return [x * this.#scale + this.#left, y * this.#scale + this.#top];
  }
}
