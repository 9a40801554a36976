//! The window's part of the board, for the page's script: it paints, and says what people do.

use std::cell::RefCell;
use std::rc::Rc;

use deltawire::browser::{Port, PortOptions, spawn_worker};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, Worker, window};

use crate::board::{
    Appearance, Change, Edit, Editor, MAX_POINTS, Operation, OperationId, Signed, Status, Stroke,
    ToWindow, Wish,
};
use crate::browser::page::listen;

#[wasm_bindgen]
extern "C" {
    /// What the script shows it with.
    pub type Painter;

    /// A stroke has its place; it is to be seen unless it is undone.
    #[wasm_bindgen(method)]
    fn stroke(
        this: &Painter,
        position: f64,
        time: f64,
        id: &str,
        colour: u8,
        width: u8,
        points: &[i16],
    );
    /// Everything before it is gone.
    #[wasm_bindgen(method)]
    fn clear(this: &Painter, position: f64, time: f64, id: &str);
    /// What has this position was taken back.
    #[wasm_bindgen(method)]
    fn undo(this: &Painter, position: f64, time: f64, target: f64);
    /// The text was changed.
    #[wasm_bindgen(method)]
    fn change(this: &Painter, position: f64, time: f64, at: u32, delete: u32, insert: &str);
    /// A stroke of one's own waits for its place.
    #[wasm_bindgen(method)]
    fn waits(this: &Painter, id: &str, colour: u8, width: u8, points: &[i16]);
    /// It does not wait any more, and has none.
    #[wasm_bindgen(method)]
    fn dropped(this: &Painter, id: &str);
    /// Everything comes anew.
    #[wasm_bindgen(method)]
    fn reset(this: &Painter);
    /// Somebody looks like this.
    #[wasm_bindgen(method)]
    fn present(
        this: &Painter,
        writer: &str,
        author: &str,
        name: &str,
        colour: u8,
        width: u8,
        points: &[i16],
    );
    /// Somebody is gone.
    #[wasm_bindgen(method)]
    fn gone(this: &Painter, writer: &str);
    /// Nobody is there.
    #[wasm_bindgen(method)]
    fn alone(this: &Painter);
    /// The text field shows another text, by this change.
    #[wasm_bindgen(method)]
    fn text(this: &Painter, text: &str, at: u32, delete: u32, inserted: u32);
    /// How the worker is connected.
    #[wasm_bindgen(method)]
    fn status(
        this: &Painter,
        state: &str,
        kind: &str,
        deltas: f64,
        waiting: u32,
        next: f64,
        digest: &str,
    );
    /// What goes wrong.
    #[wasm_bindgen(method)]
    fn trouble(this: &Painter, text: &str);
}

/// The board, for the page's script.
#[wasm_bindgen]
pub struct Board {
    shared: Rc<Shared>,
    _port: Port,
}

struct Shared {
    worker: Worker,
    painter: Painter,
    editor: RefCell<Editor>,
    author: RefCell<u64>,
    join: Wish,
}

#[wasm_bindgen]
impl Board {
    /// Joins over this kind of link.
    ///
    /// # Errors
    /// When this browser starts no worker.
    #[wasm_bindgen(constructor)]
    pub fn new(painter: Painter, kind: &str) -> Result<Board, JsValue> {
        let window = window().ok_or("no window")?;
        let origin = window.location().origin()?;
        let worker = spawn_worker().map_err(JsError::from)?;
        let port = Port::new(worker.clone(), PortOptions::default())?;
        let join = Wish::Join { origin, kind: kind.to_owned() };
        let editor = RefCell::default();
        let shared = Shared { worker, painter, editor, author: RefCell::default(), join };
        let shared = Rc::new(shared);
        listen(&shared.worker, "message", {
            let shared = shared.clone();
            move |event: MessageEvent| {
                if let Ok(bytes) = event.data().dyn_into::<Uint8Array>()
                    && let Ok(message) = ToWindow::read(&bytes.to_vec())
                {
                    shared.show(message);
                }
            }
        })?;
        listen(&shared.worker, "error", {
            let shared = shared.clone();
            move |_: MessageEvent| {
                shared.painter.trouble("The worker broke: this browser's console says why.");
            }
        })?;
        Ok(Self { shared, _port: port })
    }

    /// Somebody drew this: x and y in turn.
    pub fn draw(&self, colour: u8, width: u8, points: &[i16]) {
        for points in pairs(points).chunks(MAX_POINTS) {
            let stroke = Stroke { colour, width, points: points.to_vec() };
            self.shared.perform(Operation::Stroke(stroke));
        }
    }

    /// Somebody wants all strokes gone.
    pub fn clear(&self) {
        self.shared.perform(Operation::Clear);
    }

    /// Somebody takes back the last thing.
    pub fn undo(&self) {
        self.shared.post(&Wish::Undo);
    }

    /// The text field shows this now.
    pub fn typed(&self, text: &str) {
        let change = self.shared.editor.borrow_mut().typed(text);
        self.shared.send(change);
    }

    /// What the text field is to show.
    #[must_use]
    pub fn text(&self) -> String {
        self.shared.editor.borrow().text()
    }

    /// Looks like this to others: the first of `points` is where the pointer is, and the others are the line that it draws.
    pub fn appear(&self, name: &str, colour: u8, width: u8, points: &[i16]) {
        let points = pairs(points);
        let (pointer, preview) = match points.split_first() {
            Some((pointer, preview)) => (Some(*pointer), preview.to_vec()),
            None => (None, Vec::new()),
        };
        let name = name.to_owned();
        let appearance = Appearance { author: 0, name, colour, width, pointer, preview };
        self.shared.post(&Wish::Appear(appearance));
    }
}

fn pairs(points: &[i16]) -> &[[i16; 2]] {
    points.as_chunks().0
}

fn name(id: OperationId) -> String {
    format!("{:x}-{}", id.author, id.number)
}

impl Shared {
    fn post(&self, wish: &Wish) {
        let _ = self.worker.post_message(&Uint8Array::from(&*wish.write()));
    }

    fn perform(&self, operation: Operation) {
        self.post(&Wish::Perform(Signed { id: OperationId::default(), operation }));
    }

    fn send(&self, change: Option<Change>) {
        if let Some(change) = change {
            self.perform(Operation::Change(change));
        }
    }

    fn show(&self, message: ToWindow) {
        let painter = &self.painter;
        match message {
            ToWindow::Ready => self.post(&self.join),
            ToWindow::Placed { position, time, signed } => self.placed(position, time, signed),
            ToWindow::Waits(Signed { id, operation: Operation::Stroke(stroke) }) => {
                let Stroke { colour, width, points } = stroke;
                painter.waits(&name(id), colour, width, points.as_flattened());
            }
            ToWindow::Waits(_) => {}
            ToWindow::Dropped(number) => {
                let author = *self.author.borrow();
                painter.dropped(&name(OperationId { author, number }));
            }
            ToWindow::Reset => {
                self.editor.borrow_mut().reset();
                painter.reset();
            }
            ToWindow::Present { writer, appearance } => {
                let Appearance { author, name, colour, width, pointer, preview } = appearance;
                let points: Vec<_> = pointer.into_iter().chain(preview).flatten().collect();
                let (writer, author) = (writer.to_string(), format!("{author:x}"));
                painter.present(&writer, &author, &name, colour, width, &points);
            }
            ToWindow::Gone(writer) => painter.gone(&writer.to_string()),
            ToWindow::Alone => painter.alone(),
            ToWindow::Status(status) => self.status(&status),
            ToWindow::Trouble(text) => painter.trouble(&text),
        }
    }

    fn placed(&self, position: u64, time: u64, Signed { id, operation }: Signed) {
        let painter = &self.painter;
        // In milliseconds, as scripts count.
        let (place, time) = (position as f64, time as f64 / 1e3);
        match operation {
            Operation::Stroke(Stroke { colour, width, points }) => {
                painter.stroke(place, time, &name(id), colour, width, points.as_flattened());
            }
            Operation::Clear => painter.clear(place, time, &name(id)),
            Operation::Undo { position, .. } => painter.undo(place, time, position as f64),
            Operation::Change(Change { edit, .. }) => {
                let Edit { at, delete, insert } = &edit;
                let insert = String::from_utf16_lossy(insert);
                painter.change(place, time, *at, *delete, &insert);
                let mut editor = self.editor.borrow_mut();
                let own = id.author == *self.author.borrow();
                let (shown, next) = editor.changed(position, &edit, own);
                if let Some(Edit { at, delete, insert }) = shown {
                    let inserted = u32::try_from(insert.len()).unwrap_or_default();
                    painter.text(&editor.text(), at, delete, inserted);
                }
                drop(editor);
                self.send(next);
            }
        }
    }

    fn status(&self, status: &Status) {
        *self.author.borrow_mut() = status.author;
        let state = match (status.attended, status.live) {
            (true, true) => "live",
            (true, false) => "catching up",
            _ => "reconnecting",
        };
        let Status { kind, received, sent, waiting, next, digest, .. } = status;
        let deltas = f64::from(*received) + f64::from(*sent);
        let digest = format!("{digest:016x}");
        self.painter.status(state, kind, deltas, *waiting, *next as f64, &digest);
    }
}
