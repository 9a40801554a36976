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
fn lengths_near_the_largest_are_refused_on_any_machine() {
    for message_len in [0xFFFF_FFEF, 0xFFFF_FFF0, u32::MAX] {
        let header = FrameHeader::new(Kind::Opaque, Channel::Data, 0, message_len, 0, 1);
        assert_eq!(refused(&[header.as_bytes(), &[0; 40]].concat()), Field::MessageLen);
    }
}

#[test]
fn only_sound_headers_of_whole_frames_are_found_in_memory() {
    let whole = FrameHeader::whole(Kind::Opaque, Channel::Data, 4).unwrap();
    assert_eq!(FrameHeader::of_whole(whole.as_bytes()), Some(&whole));
    for at in 0..16 {
        let mut bytes = *whole.as_bytes().first_chunk::<16>().unwrap();
        bytes[at] ^= 0x84;
        assert!(FrameHeader::of_whole(&bytes).is_none() || (8..12).contains(&at), "{at}");
    }
    assert_eq!(FrameHeader::of_whole(&[0; 16]), None);
    assert_eq!(FrameHeader::of_whole(&whole.as_bytes()[..15]), None);
    assert_eq!(FrameHeader::of_whole(&fragment(100, 0, 3, 48)), None);
}

#[test]
fn a_run_ends_before_what_cannot_go_along() {
    let whole = FrameHeader::whole(Kind::Opaque, Channel::Data, 9).unwrap();
    let frame = [whole.as_bytes(), &[1; 9]].concat();
    let with_gap = |gap: u8| [&frame[..], &[gap; 7]].concat();
    let one = Some(crate::Run { len: 25, frames: 1 });
    let two = Some(crate::Run { len: 57, frames: 2 });
    assert_eq!(crate::run(&[with_gap(0), with_gap(0)].concat(), 99), two);
    assert_eq!(crate::run(&[with_gap(9), with_gap(0)].concat(), 99), one);
    assert_eq!(crate::run(&[with_gap(0), fragment(100, 0, 3, 48)].concat(), 99), one);
    assert_eq!(crate::run(&fragment(100, 0, 3, 48), 99), None);
}

#[test]
fn a_frame_is_seen_only_as_what_it_is() {
    let bytes = |kind, channel| {
        let header = FrameHeader::whole(kind, channel, 16).unwrap();
        let ping = crate::control::Ping::new(1, 2);
        [header.as_bytes(), ping.as_bytes()].concat()
    };
    let ping = bytes(Kind::Control, Channel::Command);
    assert!(Frame::parse(&ping).unwrap().control().is_ok());
    let error = Frame::parse(&ping).unwrap().delta().unwrap_err();
    assert_eq!(error.field, Field::Kind);
    let on_data = bytes(Kind::Control, Channel::Data);
    assert_eq!(Frame::parse(&on_data).unwrap().control().unwrap_err().field, Field::Channel);
    let fragment = fragment(100, 0, 3, 48);
    assert_eq!(Frame::parse(&fragment).unwrap().control().unwrap_err().field, Field::Kind);
}

#[test]
fn errors_name_field_value_and_limit() {
    let mut bytes = fragment(100, 3, 3, 4);
    let error = Frame::parse(&bytes).unwrap_err();
    assert_eq!(error, Malformed::new(Field::FragmentIndex, 3, Expected::Below(3)));
    assert_eq!(std::format!("{error}"), "malformed: fragment_index is 3, must be below 3");
    bytes[1] = 9;
    let error = Frame::parse(&bytes).unwrap_err();
    let text = "malformed: kind is 9, must be one of 1 (delta), 2 (control), 3 (opaque), \
                4 (document), 5 (request), 6 (bulk)";
    assert_eq!(std::format!("{error}"), text);
}
