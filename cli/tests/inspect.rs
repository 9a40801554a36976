//! `deltawire inspect`, which is the example of deltawire-framing, run as a user runs it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn inspect(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_deltawire"))
        .arg("inspect")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../../framing/vectors/wire-v1.json")).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn a_packed_message_is_shown_whole() {
    for vector in vectors()["packed"].as_array().unwrap() {
        let hex = vector["message_hex"].as_str().unwrap();
        let output = inspect(&["--hex", "-"], hex.as_bytes());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let frames = vector["frames_hex"].as_array().unwrap().len();
        assert_eq!(text.matches("at byte").count(), frames);
        assert_eq!(text.matches("(holds)").count(), text.matches("magic").count());
    }
}

#[test]
fn fragments_in_a_file_are_put_together() {
    let vectors = vectors();
    let deltas = vectors["deltas"].as_array().unwrap();
    let vector = deltas.iter().find(|v| v["payload_len"] == 1_000 && v["fragment_count"] == 66);
    let mut input = Vec::new();
    for frame in vector.unwrap()["frames_hex"].as_array().unwrap() {
        let frame = bytes(frame.as_str().unwrap());
        input.extend((frame.len() as u32).to_le_bytes());
        input.extend(frame);
    }
    let file = std::env::temp_dir().join(format!("deltawire-inspect-{}", std::process::id()));
    std::fs::write(&file, &input).unwrap();
    let output = inspect(&[file.to_str().unwrap()], &[]);
    std::fs::remove_file(&file).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("message 66: ").count(), 1);
    assert_eq!(text.matches("goes on").count(), 65);
    assert!(text.contains("payload         1000 bytes"), "{text}");
    assert!(text.contains("(holds)"), "{text}");
}

#[test]
fn a_bad_message_ends_with_status_1_and_says_where() {
    for vector in vectors()["invalid_frames"].as_array().unwrap() {
        let output = inspect(&["--hex", "-"], vector["hex"].as_str().unwrap().as_bytes());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{vector}: {error}");
        let field = vector["field"].as_str().unwrap();
        assert!(error.contains(&format!("malformed: {field} is ")), "{vector}: {error}");
    }
    let output = inspect(&["--hex", "-"], b"0x");
    assert_eq!(output.status.code(), Some(1));
    let output = inspect(&["--form", "messages", "-"], &[5, 0, 0, 0, 1]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("only 1 are left"));
}
