//! What the program says: lines for people, or JSON.

use std::sync::Arc;

use deltawire_bulk::{Phase, Report, Transfer, TransferError};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

/// Says what happens: progress bars on a terminal, JSON, or nothing.
#[derive(Clone)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    bars: Arc<MultiProgress>,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let target =
            if json || quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self { json, quiet, bars: Arc::new(MultiProgress::with_draw_target(target)) }
    }

    /// Something that happened: as `text` for people, as `event` with `fields` for programs.
    pub(crate) fn say(&self, event: &str, text: &str, fields: Value) {
        if self.json {
            let mut line = json!({ "event": event });
            if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
                line.extend(fields);
            }
            println!("{line}");
        } else if !self.quiet {
            self.bars.suspend(|| println!("{text}"));
        }
    }

    /// Shows a transfer until it is over, and says how it ended.
    pub(crate) async fn follow(
        &self,
        verb: &str,
        name: &str,
        transfer: &Transfer,
    ) -> Result<Report, TransferError> {
        let template = "{prefix:.bold} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(0).with_style(style).with_prefix(name.to_owned());
        let bar = self.bars.add(bar);
        let mut seen = transfer.progress();
        while seen.phase != Phase::Over {
            bar.set_length(seen.len);
            bar.set_position(seen.written);
            seen = transfer.changed(seen).await;
        }
        bar.finish_and_clear();
        self.bars.remove(&bar);
        let ended = transfer.finished().await;
        match &ended {
            Ok(report) => self.say(
                verb,
                &format!(
                    "{verb} {name}: {} bytes in {:.2?}{}",
                    report.len,
                    report.took,
                    if report.resumed > 0 {
                        format!(", {} of them were there before", report.resumed)
                    } else {
                        String::new()
                    }
                ),
                json!({
                    "name": name,
                    "len": report.len,
                    "blake3": hex(&report.root),
                    "seconds": report.took.as_secs_f64(),
                    "resumed": report.resumed,
                    "moved": report.moved,
                    "repeated": report.repeated,
                    "path": report.path,
                }),
            ),
            Err(error) => self.say(
                "failed",
                &format!("{name}: {error}"),
                json!({ "name": name, "error": error.to_string() }),
            ),
        }
        ended
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
