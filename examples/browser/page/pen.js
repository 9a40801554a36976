// Mouse, pen and finger: one of them draws at a time.

// Points nearer than this to the one before are left out.
const NEAR = 20;

// As many as go into one stroke; a longer one goes on as another.
const MOST = 2_000;

export const draws = (surface, pen, { mayDraw, moved, drawing, drawn }) => {
  const { element } = surface;
  let drawer = null;

  const add = event => {
    const [x, y] = surface.place(event);
    const { stroke } = pen;
    if (stroke.length > 0 && Math.hypot(x - stroke.at(-2), y - stroke.at(-1)) < NEAR) return;
    stroke.push(x, y);
  };
  const finish = () => {
    const points = pen.stroke;
    pen.stroke = null;
    if (points?.length) drawn(points);
  };

  element.addEventListener("pointerdown", event => {
    if (drawer !== null || event.button !== 0 || !mayDraw()) return;
    event.preventDefault();
    // Keys are for the board now.
    document.activeElement?.blur();
    drawer = event.pointerId;
    element.setPointerCapture(drawer);
    pen.stroke = [];
    pen.pointer = surface.place(event);
    add(event);
    drawing();
  });
  element.addEventListener("pointermove", event => {
    if (drawer !== null && event.pointerId !== drawer) return;
    pen.pointer = surface.place(event);
    if (drawer === null) {
      moved();
      return;
    }
    const all = event.getCoalescedEvents?.() ?? [];
    (all.length ? all : [event]).forEach(add);
    if (pen.stroke.length >= 2 * MOST) {
      const last = pen.stroke.slice(-2);
      finish();
      pen.stroke = last;
    }
    drawing();
  });
  const up = event => {
    if (event.pointerId !== drawer) return;
    drawer = null;
    if (event.pointerType === "touch") pen.pointer = null;
    finish();
  };
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("pointerleave", () => {
    if (drawer === null) {
      pen.pointer = null;
      moved();
    }
  });
};
