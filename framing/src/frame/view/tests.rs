use std::vec;
use std::vec::Vec;

use zerocopy::IntoBytes;

use super::*;
use crate::error::Blame;

/// A frame of a fragment with these fields, whether or not they add up.
fn fragment(message_len: u32, index: u16, count: u16, body_len: usize) -> Vec<u8> {
    let header = FrameHeader::new(Kind::Opaque, Channel::Data, 9, message_len, index, count);
    [header.as_bytes(), &vec![1; body_len]].concat()
}

fn refused(bytes: &[u8]) -> Field {
    let error = Frame::parse(bytes).unwrap_err();
    assert_eq!(error.blame(), Blame::Peer);
    error.field
}

#[test]
fn fragments_say_where_they_belong() {
    for (index, body_len, offset) in [(0, 48, 0), (1, 48, 48), (2, 4, 96)] {
        let bytes = fragment(100, index, 3, body_len);
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.body_offset(), frame.fragment_len()), (offset, 48));
    }
    let bytes = fragment(96, 1, 2, 48);
    assert_eq!(Frame::parse(&bytes).unwrap().body_offset(), 48);
}

#[test]
fn fragments_that_do_not_add_up_are_refused() {
    // F is no multiple of 16, or below 16.
    assert_eq!(refused(&fragment(100, 0, 3, 40)), Field::FragmentCount);
    assert_eq!(refused(&fragment(10, 0, 2, 8)), Field::FragmentCount);
    assert_eq!(refused(&fragment(8, 1, 2, 8)), Field::FragmentCount);
    // Too few and too many fragments for the length.
    assert_eq!(refused(&fragment(97, 0, 2, 48)), Field::FragmentCount);
    assert_eq!(refused(&fragment(96, 0, 3, 48)), Field::FragmentCount);
    // The last is longer than the message, or than F.
    assert_eq!(refused(&fragment(10, 2, 3, 11)), Field::FragmentCount);
    assert_eq!(refused(&fragment(100, 1, 2, 60)), Field::FragmentCount);
    assert_eq!(refused(&fragment(100, 3, 3, 4)), Field::FragmentIndex);
    assert_eq!(refused(&fragment(100, 0, 3, 0)), Field::Length);
    assert_eq!(refused(&fragment(0, 0, 3, 16)), Field::MessageLen);
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    assert_eq!(refused(&fragment(u32::MAX, u16::MAX, u16::MAX, 16)), Field::FragmentIndex);
    assert_eq!(refused(&fragment(u32::MAX, 65_533, u16::MAX, 65_520)), Field::FragmentCount);
    assert_eq!(refused(&fragment(u32::MAX, 65_534, u16::MAX, 65_520)), Field::FragmentCount);
    let longest = 65_535 * 65_520 - 1;
    let bytes = fragment(longest, 65_533, u16::MAX, 65_520);
    assert_eq!(Frame::parse(&bytes).unwrap().body_offset(), 65_533 * 65_520);
}

#[test]
fn an_unfragmented_frame_has_no_index_and_no_id() {
    let mut bytes = fragment(4, 0, 1, 4);
    assert_eq!(refused(&bytes), Field::MessageId);
    bytes[4] = 0;
    assert!(Frame::parse(&bytes).is_ok());
    bytes[12] = 1;
    assert_eq!(refused(&bytes), Field::FragmentIndex);
}

#[test]
fn errors_name_field_value_and_limit() {
    let mut bytes = fragment(100, 3, 3, 4);
    let error = Frame::parse(&bytes).unwrap_err();
    assert_eq!(error, Malformed::new(Field::FragmentIndex, 3, Expected::Below(3)));
    assert_eq!(std::format!("{error}"), "malformed: fragment_index is 3, must be below 3");
    bytes[1] = 9;
    let error = Frame::parse(&bytes).unwrap_err();
    let text = "malformed: kind is 9, must be one of 1 (delta), 2 (control), 3 (opaque)";
    assert_eq!(std::format!("{error}"), text);
}
