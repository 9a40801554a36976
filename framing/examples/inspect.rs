//! Prints transport messages frame by frame and field by field.
//!
//! ```sh
//! cargo run -q -p deltawire-framing --example inspect -- message.bin
//! echo 01030100 00000000 05000000 00000100 68656c6c6f | \
//!     cargo run -q -p deltawire-framing --example inspect -- --hex -
//! ```

use std::fmt::{Display, Write as _};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use deltawire_framing::bulk::Bulk;
use deltawire_framing::control::Control;
use deltawire_framing::documents::Document;
use deltawire_framing::operations::{Operation, Operations};
use deltawire_framing::requests::RequestMessage;
use deltawire_framing::{
    Delta, DeltaType, Frame, FrameHeader, Frames, Kind, Reassembled, Reassembler, ReassemblerLimits,
};

/// How much the fragmented messages of an input may claim at a time, whatever their headers say.
const MAX_UNFINISHED_BYTES: u64 = 1 << 30;

/// Prints what Deltawire transport messages hold, frame by frame and field by field.
///
/// Ends with status 1, and says where and why, when bytes break the format.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Arguments {
    /// The file to read, or - for standard input.
    file: PathBuf,
    /// The input is hexadecimal text; white space does not matter.
    #[arg(long)]
    hex: bool,
    /// What the input holds.
    #[arg(long, value_enum, default_value_t = Form::Auto)]
    form: Form,
    /// How many bytes of each payload to show.
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Form {
    /// Messages, if lengths lead exactly to the input's end; else one message.
    Auto,
    /// One transport message.
    Message,
    /// Transport messages, each preceded by its length as u32 little-endian.
    Messages,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what an input holds, and says what is wrong with it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut printer = Printer { out: String::new(), shown: arguments.bytes };
    let result = inspect(arguments, &mut printer);
    // A reader that has seen enough (`| head`) is no failure.
    let _ = io::stdout().write_all(printer.out.as_bytes());
    result
}

fn inspect(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<()> {
    let mut input = read(&arguments.file)
        .with_context(|| format!("cannot read {}", arguments.file.display()))?;
    if arguments.hex {
        input = from_hex(&input)?;
    }
    let is_message = Frames::new(&input).all(|frame| frame.is_ok());
    let mut hint = None;
    let messages = match (arguments.form, split(&input)) {
        (Form::Messages, messages) => messages?,
        (Form::Auto, Ok(messages)) if !messages.is_empty() && !is_message => messages,
        (form, split) => {
            hint = split.err().filter(|_| form == Form::Auto);
            vec![&input[..]]
        }
    };

    let limits = ReassemblerLimits {
        max_bytes: MAX_UNFINISHED_BYTES,
        max_messages: 65_536,
        remembered: 0,
        ..ReassemblerLimits::default()
    };
    let mut reassembler = Reassembler::new(limits, 0);
    for (index, message) in messages.iter().enumerate() {
        let name = format!("message {}", index + 1);
        printer.line(0, format_args!("{name}: {} bytes", message.len()));
        inspect_message(message, printer, &mut reassembler).context(name).map_err(|error| {
            match &hint {
                Some(hint) => error.context(format!("not messages with lengths ({hint}), and")),
                None => error,
            }
        })?;
    }
    if reassembler.unfinished() > 0 {
        let count = reassembler.unfinished();
        printer.line(0, format_args!("{count} fragmented message(s) did not end in this input"));
    }
    Ok(())
}

fn inspect_message(
    message: &[u8],
    printer: &mut Printer,
    reassembler: &mut Reassembler<Vec<u8>>,
) -> anyhow::Result<()> {
    let mut at = 0;
    for (index, frame) in Frames::new(message).enumerate() {
        let place = || format!("frame {} at byte {at}", index + 1);
        let frame = frame.with_context(|| {
            let bytes = &message[at..message.len().min(at + FrameHeader::SIZE)];
            format!("{}, which begins with {}", place(), hex(bytes))
        })?;
        let len = frame.as_bytes().len();
        printer.line(1, format_args!("{}: {len} bytes", place()));
        print_header(frame, printer);
        inspect_frame(frame, printer, reassembler).with_context(place)?;
        at += len.next_multiple_of(16);
    }
    Ok(())
}

fn inspect_frame(
    frame: Frame<'_>,
    printer: &mut Printer,
    reassembler: &mut Reassembler<Vec<u8>>,
) -> anyhow::Result<()> {
    let mut landing = |message: &FrameHeader| Some(vec![0; message.message_len() as usize]);
    match reassembler.insert(frame, Duration::ZERO, &mut landing)? {
        Reassembled::Whole(frame) if frame.kind() == Kind::Control => {
            print_control(frame.control()?, printer);
            Ok(())
        }
        Reassembled::Whole(frame) => inspect_body(frame.kind(), frame.body(), printer),
        Reassembled::Complete(message) => {
            printer.field("message", "complete, its body is:");
            inspect_body(message.header.kind(), &message.buffer, printer)
        }
        Reassembled::Partial => {
            printer.field("message", "goes on");
            Ok(())
        }
        Reassembled::Duplicate => {
            printer.field("message", "had this fragment before");
            Ok(())
        }
    }
}

fn print_header(frame: Frame<'_>, printer: &mut Printer) {
    let header = frame.header();
    let kind = match header.kind() {
        Kind::Delta => "delta",
        Kind::Control => "control",
        Kind::Opaque => "opaque",
        Kind::Document => "document",
        Kind::Request => "request",
        Kind::Bulk => "bulk",
    };
    let channel = format!("{:?}", header.channel()).to_lowercase();
    printer.field("version", 1);
    printer.field("kind", format_args!("{} ({kind})", header.kind() as u8));
    printer.field("channel", format_args!("{} ({channel})", header.channel() as u8));
    printer.field("flags", 0);
    printer.field("message_id", header.message_id());
    printer.field("message_len", header.message_len());
    printer.field("fragment_index", header.fragment_index());
    printer.field("fragment_count", header.fragment_count());
    if header.is_fragment() {
        let (start, len) = (frame.body_offset(), frame.body().len());
        printer.field("carries", format_args!("body bytes {start} to {}", start + len - 1));
    }
}

fn inspect_body(kind: Kind, body: &[u8], printer: &mut Printer) -> anyhow::Result<()> {
    match kind {
        Kind::Delta => inspect_delta(Delta::parse(body)?, printer),
        Kind::Control => bail!("a control message in fragments"),
        Kind::Opaque => {
            printer.bytes("body", body);
            Ok(())
        }
        Kind::Bulk => {
            print_bulk(Bulk::parse(body)?, printer);
            Ok(())
        }
        Kind::Document => {
            print_document(Document::parse(body)?, printer);
            Ok(())
        }
        Kind::Request => {
            print_request(RequestMessage::parse(body)?, printer);
            Ok(())
        }
    }
}

fn print_request(request: RequestMessage<'_>, printer: &mut Printer) {
    printer.field("request", format_args!("{request:?}"));
}

fn print_bulk(bulk: Bulk<'_>, printer: &mut Printer) {
    let bulk = match bulk {
        Bulk::Offer(offer, name) => format!("offer of {name:?}, {:?}", offer.fields()),
        Bulk::Accept(accept) => format!("accept, id {}, has {} bytes", accept.id(), accept.have()),
        Bulk::Ask(ask) => format!("ask, {:?}", ask.fields()),
        Bulk::Piece(piece, bytes) => {
            format!("piece, id {}, index {}, {} bytes", piece.id(), piece.index(), bytes.len())
        }
        Bulk::Hashes(hashes, them) => {
            let (id, wanted, first) = (hashes.id(), hashes.wanted(), hashes.first());
            format!("hashes, id {id}, {wanted:?} from {first}, {}", them.len())
        }
        Bulk::Done(done) => format!("done, {:?}", done.fields()),
        Bulk::Get(get, name) => format!("get, id {}, {:?} {name:?}", get.id(), get.what()),
        other => format!("{other:?}"),
    };
    printer.field("bulk", bulk);
}

fn print_document(document: Document<'_>, printer: &mut Printer) {
    let document = match document {
        Document::Subscribe(subscribe) => format!("subscribe, {:?}", subscribe.fields()),
        Document::Unsubscribe(unsubscribe) => format!("unsubscribe, id {}", unsubscribe.id()),
        Document::Publish(publish) => format!("publish, {:?}", publish.fields()),
        Document::Unpublish(unpublish) => format!("unpublish, id {}", unpublish.id()),
        Document::Acknowledge(acknowledge) => format!("acknowledge, {:?}", acknowledge.fields()),
        Document::Denied(denied) => {
            format!("denied, {:?}: {}", denied.fields(), denied.fields().code.text())
        }
        Document::Mark(mark) => format!("mark, {:?}", mark.fields()),
        Document::Expect(expect) => {
            format!("expect, id {}, position {}", expect.id(), expect.position())
        }
        other => format!("{other:?}"),
    };
    printer.field("document", document);
}

fn print_control(control: Control<'_>, printer: &mut Printer) {
    let control = match control {
        Control::Hello(hello) => format!(
            "hello, version {}, features {:#x}, {:?}",
            hello.version(),
            hello.features(),
            hello.fields()
        ),
        Control::Window(w) => format!("window, {:?}, limit {}", w.channel(), w.limit()),
        Control::Position(p) => format!("position, {:?}, sent {}", p.channel(), p.sent()),
        Control::Ping(ping) => {
            format!("ping, id {}, sent_at {}", ping.id(), ping.sent_at())
        }
        Control::Pong(pong) => {
            format!("pong, id {}, sent_at {}", pong.id(), pong.sent_at())
        }
        Control::Close(close) => {
            format!("close, code {}: {}", close.code().0, close.reason())
        }
        other => format!("{other:?}"),
    };
    printer.field("control", control);
}

fn inspect_delta(delta: Delta<'_>, printer: &mut Printer) -> anyhow::Result<()> {
    let header = delta.header();
    let what = match header.delta_type() {
        DeltaType::OPAQUE => "opaque",
        DeltaType::OPERATIONS => "operations",
        other if other.is_reserved() => "reserved",
        _ => "application",
    };
    printer.line(2, "delta");
    printer.field("magic", "DLT1");
    printer.field("version", 1);
    printer.field("delta_type", format_args!("{} ({what})", header.delta_type().get()));
    printer.field("flags", format_args!("{:#06x}", header.flags()));
    printer.field("total_size", header.total_size());
    printer.field("doc_id", header.doc_id());
    printer.field("timestamp", format_args!("{} µs", header.timestamp()));
    printer.field("sequence", header.sequence());
    let verdict = match (header.has_checksum(), delta.verify_checksum()) {
        (false, _) => "absent",
        (true, Ok(())) => "holds",
        (true, Err(_)) => "WRONG",
    };
    printer.field("checksum", format_args!("{:#010x} ({verdict})", header.checksum()));
    delta.verify_checksum()?;
    printer.bytes("payload", delta.payload());
    if delta.delta_type() == DeltaType::OPERATIONS {
        print_operations(delta.operations()?, printer);
    }
    Ok(())
}

/// A broken list is shown as such, but the message that carries it is sound.
fn print_operations(operations: Operations<'_>, printer: &mut Printer) {
    for operation in operations {
        match operation {
            Ok(Operation::Insert { offset, data }) => {
                printer.bytes(&format!("insert at {offset}"), data);
            }
            Ok(Operation::Delete { offset, len }) => {
                printer.field(&format!("delete at {offset}"), format_args!("{len} bytes"));
            }
            Ok(Operation::Update { offset, data }) => {
                printer.bytes(&format!("update at {offset}"), data);
            }
            Err(error) => printer.field("BROKEN LIST", error),
        }
    }
}

/// Text for standard output, indented.
struct Printer {
    out: String,
    /// How many bytes of a payload are shown.
    shown: usize,
}

impl Printer {
    fn line(&mut self, depth: usize, text: impl Display) {
        let _ = writeln!(self.out, "{:1$}{text}", "", depth * 2);
    }

    fn field(&mut self, name: &str, value: impl Display) {
        self.line(3, format_args!("{name:<15} {value}"));
    }

    /// A length, and a dump of the first bytes, 16 a line.
    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.field(name, format_args!("{} bytes", bytes.len()));
        for (row, chunk) in bytes[..bytes.len().min(self.shown)].chunks(16).enumerate() {
            let text: String =
                chunk.iter().map(|b| if b.is_ascii_graphic() { *b as char } else { '.' }).collect();
            let hex = hex(chunk);
            self.line(4, format_args!("{:08x}  {hex:<47}  {text}", row * 16));
        }
        if bytes.len() > self.shown {
            let left = bytes.len() - self.shown;
            self.line(4, format_args!("… {left} more (--bytes {} shows them)", bytes.len()));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut input = Vec::new();
        io::stdin().lock().read_to_end(&mut input)?;
        return Ok(input);
    }
    std::fs::read(file)
}

fn from_hex(text: &[u8]) -> anyhow::Result<Vec<u8>> {
    let text = std::str::from_utf8(text).context("the input is not hexadecimal text")?;
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    if !digits.len().is_multiple_of(2) {
        bail!("the input has {} hexadecimal digits: an even number makes bytes", digits.len());
    }
    digits
        .chunks(2)
        .map(|pair| {
            let pair: String = pair.iter().collect();
            if !pair.chars().all(|c| c.is_ascii_hexdigit()) {
                bail!("«{pair}» is not a byte in hexadecimal");
            }
            Ok(u8::from_str_radix(&pair, 16)?)
        })
        .collect()
}

/// The messages of an input in which each is preceded by its length.
fn split(mut input: &[u8]) -> anyhow::Result<Vec<&[u8]>> {
    let total = input.len();
    let mut messages = Vec::new();
    while !input.is_empty() {
        let at = total - input.len();
        let Some((len, rest)) = input.split_first_chunk() else {
            bail!("{} bytes at byte {at} are too few for a message's length", input.len());
        };
        let len = u32::from_le_bytes(*len) as usize;
        let Some((message, rest)) = rest.split_at_checked(len) else {
            bail!("the message at byte {at} is {len} bytes long, only {} are left", rest.len());
        };
        messages.push(message);
        input = rest;
    }
    Ok(messages)
}
