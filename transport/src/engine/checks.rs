//! Connectivity checks as a sign of life.
//!
//! ICE goes on checking the way to the peer, a datagram each way every three seconds (RFC 7675).
//! Where the stack and the session are moved by the same task, as in a native node, a check shows
//! as much as a ping of the session's would, and costs less. A browser checks by itself, whatever
//! became of the worker that has the session. So descriptions of native nodes say so.

/// In the section of the data channels. Others pass over attributes that they do not know (RFC
/// 8866, section 5.13).
const MARK: &str = "a=x-deltawire-checks\r\n";

/// A description that says that this side's checks count.
pub(super) fn mark(description: String) -> String {
    description + MARK
}

/// Whether the peer's checks count.
pub(super) fn is_marked(description: &str) -> bool {
    description.lines().any(|line| line == MARK.trim_end())
}

const REQUEST: [u8; 2] = [0, 1];
const SUCCESS: [u8; 2] = [1, 1];

/// What was seen of checks.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Whether they count.
    pub(super) count: bool,
    heard: bool,
    /// Of our last requests, newest first: 96 random bits, which only their receiver knows.
    transactions: [[u8; 12]; 4],
}

impl Checks {
    /// Notes a datagram that the stack sends. It answers only requests that prove themselves.
    #[inline]
    pub(super) fn sent(&mut self, datagram: &[u8]) {
        if datagram.starts_with(&SUCCESS) {
            self.heard = true;
        } else if datagram.starts_with(&REQUEST)
            && let Some(transaction) = transaction(datagram)
        {
            self.transactions.rotate_right(1);
            self.transactions[0] = transaction;
        }
    }

    /// Notes a datagram that came.
    #[inline]
    pub(super) fn received(&mut self, datagram: &[u8]) {
        if datagram.starts_with(&SUCCESS)
            && let Some(transaction) = transaction(datagram)
            && transaction != [0; 12]
        {
            self.heard |= self.transactions.contains(&transaction);
        }
    }

    /// Whether a check succeeded since the last call, if they count.
    pub(super) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard) && self.count
    }
}

/// The transaction id of a STUN message (RFC 8489, section 5).
fn transaction(datagram: &[u8]) -> Option<[u8; 12]> {
    datagram.get(8..20)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: [u8; 2], transaction: u8) -> Vec<u8> {
        let mut bytes = vec![kind[0], kind[1], 0, 0, 0x21, 0x12, 0xa4, 0x42];
        bytes.extend([transaction; 12]);
        bytes
    }

    #[test]
    fn only_answers_to_own_requests_count() {
        let mut checks = Checks { count: true, ..Checks::default() };
        for transaction in 1..=6 {
            checks.sent(&message(REQUEST, transaction));
        }
        for (transaction, counts) in [(0, false), (2, false), (7, false), (3, true), (6, true)] {
            checks.received(&message(SUCCESS, transaction));
            assert_eq!(checks.take_heard(), counts, "{transaction}");
        }
        checks.received(&message(SUCCESS, 6)[..19]);
        checks.received(&message(REQUEST, 6));
        assert!(!checks.take_heard());
        checks.sent(&message(SUCCESS, 9));
        assert!(checks.take_heard() && !checks.take_heard());
        checks.count = false;
        checks.sent(&message(SUCCESS, 9));
        assert!(!checks.take_heard());
    }

    #[test]
    fn marks_are_whole_lines() {
        assert!(is_marked(&mark("v=0\r\n".to_owned())));
        assert!(!is_marked("v=0\r\na=x-deltawire-checks2\r\n"));
    }
}
