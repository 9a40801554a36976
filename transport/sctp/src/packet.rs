//! Reads packets of SCTP (RFC 9260, section 3), and writes them once more.

/// Bytes of a packet's header.
pub const HEADER: usize = 12;

// Types of chunks (RFC 9260, section 3.2; RFC 3758; RFC 6525; RFC 8260).
pub const DATA: u8 = 0;
pub const INIT: u8 = 1;
pub const SACK: u8 = 3;
pub const HEARTBEAT: u8 = 4;
pub const HEARTBEAT_ACK: u8 = 5;
pub const ABORT: u8 = 6;
pub const SHUTDOWN: u8 = 7;
pub const SHUTDOWN_ACK: u8 = 8;
pub const SHUTDOWN_COMPLETE: u8 = 14;
pub const I_DATA: u8 = 64;
pub const RE_CONFIG: u8 = 130;
pub const FORWARD_TSN: u8 = 192;
pub const I_FORWARD_TSN: u8 = 194;

/// Bytes of a SACK before its blocks.
pub const SACK_HEADER: usize = 16;

/// Whether a TSN comes after another: they wrap around (RFC 1982).
#[inline]
pub fn is_after(tsn: u32, other: u32) -> bool {
    (tsn.wrapping_sub(other) as i32) > 0
}

/// The big-endian number that stands here.
#[inline]
pub fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The short one.
#[inline]
pub fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The chunks of a packet; `None`, and no more, where the packet breaks off.
#[inline]
pub fn chunks(packet: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    elements(packet.get(HEADER..), 4)
}

/// The parameters of an INIT or RE-CONFIG that begin here (RFC 9260, section 3.2.1).
pub fn parameters(chunk: &[u8], at: usize) -> impl Iterator<Item = Option<&[u8]>> {
    elements(chunk.get(at..), 4)
}

/// What begins with a type and a length of two bytes each, up to the next multiple of four.
#[inline]
fn elements(mut rest: Option<&[u8]>, least: usize) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        let bytes = rest?;
        if bytes.is_empty() {
            return None;
        }
        let len = short(bytes, 2).map(usize::from);
        let element = len.filter(|len| *len >= least).and_then(|len| bytes.get(..len));
        rest = element.and_then(|it| bytes.get(it.len().next_multiple_of(4)..).or(Some(&[])));
        Some(element)
    })
}

/// Appends a chunk or a parameter, and what fills it up.
pub fn push(bytes: &mut Vec<u8>, element: &[u8]) {
    bytes.extend_from_slice(element);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Begins a packet: [`push`] its chunks, then [`seal`] it.
pub fn begin(ports: [u16; 2], tag: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(256);
    ports.iter().for_each(|port| packet.extend(port.to_be_bytes()));
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    packet
}

/// Writes the checksum (RFC 9260, section 6.8).
pub fn seal(packet: &mut [u8]) {
    packet[8..HEADER].fill(0);
    let checksum = crc32c::crc32c(packet);
    packet[8..HEADER].copy_from_slice(&checksum.to_le_bytes());
}

/// Whether the checksum is right.
pub fn is_sealed(packet: &[u8]) -> bool {
    let Some((header, chunks)) = packet.split_at_checked(HEADER) else { return false };
    let without = crc32c::crc32c_append(crc32c::crc32c(&header[..8]), &[0; 4]);
    header[8..] == crc32c::crc32c_append(without, chunks).to_le_bytes()
}
