//! Connectivity checks as a sign of life.
//!
//! ICE goes on checking the way to the peer, a datagram each way every three seconds (RFC 7675).
//! Where the stack and the session are moved by the same task, as in a native node, a check shows
//! as much as a ping of the session's would, and costs less. A browser checks by itself, whatever
//! became of the worker that has the session. So descriptions of native nodes say so
//! (`a=x-deltawire-checks`).

use super::stun::{Check, Transaction};

/// What was seen of checks.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Whether they count.
    pub(super) count: bool,
    heard: bool,
    /// Of our last requests, newest first: 96 random bits, which only their receiver knows.
    transactions: [Option<Transaction>; 4],
}

impl Checks {
    /// Notes a check that the stack sends. It answers only requests that prove themselves.
    pub(super) fn sent(&mut self, check: Check<'_>) {
        match check {
            Check::Success { .. } => self.heard = true,
            Check::Request { transaction, .. } => {
                self.transactions.rotate_right(1);
                self.transactions[0] = Some(transaction);
            }
        }
    }

    /// Notes a check that came.
    pub(super) fn received(&mut self, check: Check<'_>) {
        if let Check::Success { transaction } = check {
            self.heard |= self.transactions.contains(&Some(transaction));
        }
    }

    /// Whether a check succeeded since the last call, if they count.
    pub(super) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard) && self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::stun::{request, success};

    fn sent(checks: &mut Checks, datagram: &[u8]) {
        checks.sent(Check::read(datagram).unwrap());
    }

    fn received(checks: &mut Checks, datagram: &[u8]) {
        checks.received(Check::read(datagram).unwrap());
    }

    #[test]
    fn only_answers_to_own_requests_count() {
        let mut checks = Checks { count: true, ..Checks::default() };
        for transaction in 1..=6 {
            sent(&mut checks, &request(transaction, b"a:b"));
        }
        for (transaction, counts) in [(0, false), (2, false), (7, false), (3, true), (6, true)] {
            received(&mut checks, &success(transaction));
            assert_eq!(checks.take_heard(), counts, "{transaction}");
        }
        received(&mut checks, &request(6, b"a:b"));
        assert!(!checks.take_heard());
        sent(&mut checks, &success(9));
        assert!(checks.take_heard() && !checks.take_heard());
        checks.count = false;
        sent(&mut checks, &success(9));
        assert!(!checks.take_heard());
    }
}
