//! What a session description says of data channels.

use deltawire_framing::control::Hello;

use super::EngineError;

/// What is taken for the peer's limit when its description names none (RFC 8841, section 6.1).
pub(crate) const UNSTATED_MAX_MESSAGE_SIZE: usize = 65_536;

/// What every message of a session's fits in.
const MIN_MAX_MESSAGE_SIZE: usize = Hello::MIN_FRAME_LEN as usize;

/// The `max-message-size` of a description's data channels (RFC 8841, section 6). 0 is no limit.
pub(crate) fn max_message_size(description: &str) -> Result<usize, EngineError> {
    let application = description
        .lines()
        .skip_while(|line| !(line.starts_with("m=application") && line.contains("SCTP")));
    let mut lines = application.take_while({
        let mut sections = 0;
        move |line| {
            sections += usize::from(line.starts_with("m="));
            sections < 2
        }
    });
    let Some(section) = lines.next() else { return Err(EngineError::NoChannels) };
    // Port 0 is a section that was refused.
    if section.split_whitespace().nth(1) == Some("0") {
        return Err(EngineError::NoChannels);
    }
    let Some(value) = lines.find_map(|line| line.strip_prefix("a=max-message-size:")) else {
        return Ok(UNSTATED_MAX_MESSAGE_SIZE);
    };
    match value.trim().parse() {
        Ok(0) => Ok(usize::MAX),
        Ok(size) if size >= MIN_MAX_MESSAGE_SIZE => Ok(size),
        Ok(size) => Err(EngineError::Unsupported(format!(
            "max-message-size {size}, must be 0 or at least {MIN_MAX_MESSAGE_SIZE}"
        ))),
        Err(_) => Err(EngineError::Malformed(format!("max-message-size {:?}", value.trim()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(attributes: &str) -> String {
        format!(
            "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=max-message-size:5\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n{attributes}\
             m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=max-message-size:7\r\n"
        )
    }

    #[test]
    fn the_size_of_the_data_channels_section_counts() {
        let size = |attributes| max_message_size(&description(attributes));
        assert_eq!(size("a=mid:0\r\na=max-message-size:262144\r\n"), Ok(262_144));
        assert_eq!(size("a=max-message-size:0\r\n"), Ok(usize::MAX));
        assert_eq!(size(""), Ok(65_536));
        assert!(matches!(size("a=max-message-size:1x\r\n"), Err(EngineError::Malformed(_))));
        assert!(matches!(size("a=max-message-size:79\r\n"), Err(EngineError::Unsupported(_))));
        for none in ["", "v=0\r\n", "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"] {
            assert_eq!(max_message_size(none), Err(EngineError::NoChannels));
        }
    }
}
