use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use deltawire::Backoff;
use deltawire::documents::{Documents, DocumentsOptions, keep};
use deltawire::prelude::*;
use deltawire_browser_demo::board::{Appearance, Operation, Participant, SIZE, Stroke};
use deltawire_browser_demo::service::Error;
use tokio::time::{MissedTickBehavior, interval};

use crate::flower::flower;

/// Joins the page's board, and draws on it.
#[derive(Parser)]
struct Arguments {
    /// Where the board's server signals, such as http://127.0.0.1:8080/board/webrtc.
    #[arg(long)]
    url: String,
    /// Seconds between two flowers.
    #[arg(long, default_value_t = 20)]
    every: u64,
}

/// Flowers that are there at a time.
const MOST: usize = 6;

/// How fast it draws: one point each.
const PEN: Duration = Duration::from_millis(25);

pub(super) fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> Result<(), Error> {
    let backoff = Backoff { longest: Duration::from_secs(2), ..Backoff::default() };
    let node = Node::builder().backoff(backoff).build()?;
    let documents = Documents::new(node.runtime().clone(), DocumentsOptions::default());
    let mut author = [0; 8];
    node.runtime().random(&mut author)?;
    let participant = Participant::join(&documents, u64::from_le_bytes(author), now)?;
    tokio::select! {
        over = keep(&node, &arguments.url, &documents) => Ok(over?),
        failed = draw(participant, Duration::from_secs(arguments.every)) => failed,
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Draws flower after flower, point by point, so that others see it grow.
async fn draw(mut participant: Participant, every: Duration) -> Result<(), Error> {
    let mut pen = interval(PEN);
    pen.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut number = 0;
    let mut drawn = 0;
    let mut rest = Duration::from_secs(2);
    let mut line = flower(number);
    appear(&mut participant, &line, 0)?;
    loop {
        tokio::select! {
            told = participant.next() => drop(told?),
            _ = pen.tick() => {
                if let Some(left) = rest.checked_sub(PEN) {
                    rest = left;
                    continue;
                }
                // Where nobody sees it there is no use in drawing.
                if drawn == 0 && !participant.status().live {
                    continue;
                }
                drawn += 1;
                if drawn < line.points.len() {
                    appear(&mut participant, &line, drawn)?;
                    continue;
                }
                participant.keep_only(MOST - 1);
                participant.perform(Operation::Stroke(line));
                number += 1;
                line = flower(number);
                (drawn, rest) = (0, every);
                appear(&mut participant, &line, 0)?;
            }
        }
    }
}

/// Shows the pen, and what it has drawn of a line.
fn appear(participant: &mut Participant, line: &Stroke, drawn: usize) -> Result<(), Error> {
    let preview = line.points.get(..drawn).unwrap_or_default().to_vec();
    let [width, height] = SIZE;
    let home = [width - 1_200, height - 900];
    participant.appear(Appearance {
        name: "native peer".to_owned(),
        colour: line.colour,
        width: line.width,
        pointer: Some(preview.last().copied().unwrap_or(home)),
        preview,
        ..Appearance::default()
    })
}
