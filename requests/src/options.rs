use std::time::Duration;

/// What bounds the memory that a peer can make [`Requests`](crate::Requests) hold, and how long a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestsOptions {
    /// Calls of this side's that wait for their answers at a time. Default: 64.
    pub max_pending: usize,
    /// Requests of the peer's that are not answered yet, at a time. More are refused. Default: 64.
    pub max_incoming: usize,
    /// Bytes of the peer's requests that wait for [`IncomingRequests::next`](crate::IncomingRequests::next), each with
    /// 256 more. More are refused. Default: 256 KiB.
    pub max_incoming_bytes: usize,
    /// The longest request that is taken, bytes of its payload. Default: 32 KiB.
    pub max_request_len: usize,
    /// The longest answer that is taken, bytes of its payload. Default: 32 KiB.
    pub max_answer_len: usize,
    /// Of each call for many answers: how many bytes of them may wait to be read, each with 256 more. At least an
    /// answer of `max_answer_len`. Default: 64 KiB.
    pub answer_window: u32,
    /// Streams at a time, of each side's. Default: 16.
    pub max_streams: usize,
    /// The longest stream that is taken, bytes. Default: 256 MiB.
    pub max_stream_len: u64,
    /// Of each of the peer's streams: how many bytes of it may wait to be read, each piece with 256 more. At least
    /// 4 KiB. Default: 128 KiB.
    pub stream_window: u32,
    /// How much of the session's window may be kept by messages where they came: those that wait, and requests, answers
    /// and pieces that were taken and are not dropped, bytes. Others are copied, so that whatever is not read, or is worked
    /// on, does not hold up the rest. Less than half of the window; 0 copies all. Default: 32 KiB.
    pub max_uncopied: usize,
    /// How long a call waits for its answer, or for the first of many. Default: 30 s.
    pub timeout: Duration,
}

impl Default for RequestsOptions {
    fn default() -> Self {
        Self {
            max_pending: 64,
            max_incoming: 64,
            max_incoming_bytes: 256 << 10,
            max_request_len: 32 << 10,
            max_answer_len: 32 << 10,
            answer_window: 64 << 10,
            max_streams: 16,
            max_stream_len: 256 << 20,
            stream_window: 128 << 10,
            max_uncopied: 32 << 10,
            timeout: Duration::from_secs(30),
        }
    }
}

/// Bytes that an exchange takes beside its messages, at most.
const EXCHANGE: u64 = 1_024;

impl RequestsOptions {
    /// What they take in memory, bytes, whatever the peer does: 6.9 MiB with the defaults, of which next to nothing is
    /// taken until a peer does its worst. The session's own is counted in
    /// [`Limits::memory_bound`](deltawire_channels::Limits::memory_bound); what an application took and keeps is its
    /// own.
    ///
    /// | part | bytes |
    /// |---|---|
    /// | answers that nobody took | `max_pending` · the larger of `answer_window` and `max_answer_len` |
    /// | requests that nobody took | `max_incoming_bytes` |
    /// | pieces that nobody took | `max_streams` · `stream_window` |
    /// | exchanges | 1 KiB · (`max_pending` + `max_incoming` + 2 · `max_streams`) |
    /// | replies that wait for room | 512 · [`MAX_REPLIES`](crate::MAX_REPLIES) |
    #[must_use]
    pub fn memory_bound(&self) -> u64 {
        let answers = u64::from(self.answer_window).max(self.max_answer_len as u64);
        let pieces = (self.max_streams as u64).saturating_mul(self.stream_window.into());
        let exchanges = [self.max_pending, self.max_incoming, self.max_streams, self.max_streams];
        let exchanges =
            exchanges.into_iter().fold(0_u64, |sum, count| sum.saturating_add(count as u64));
        [
            (self.max_pending as u64).saturating_mul(answers),
            self.max_incoming_bytes as u64,
            pieces,
            exchanges.saturating_mul(EXCHANGE),
            crate::MAX_REPLIES as u64 * 512,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// The same, with windows that let something through.
    pub(crate) fn sound(mut self) -> Self {
        let answer = u32::try_from(self.max_answer_len).unwrap_or(u32::MAX);
        self.answer_window = self.answer_window.max(answer.saturating_add(256)).max(4 << 10);
        self.stream_window = self.stream_window.max(4 << 10);
        self
    }
}

/// How one call is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// How long it waits for its answer, or for the first of many, from when it is made on. Default: as
    /// [`RequestsOptions::timeout`] says.
    pub timeout: Option<Duration>,
    /// What becomes of it while there are [`RequestsOptions::max_pending`] others. Default: it waits.
    pub when_full: WhenFull,
}

/// What becomes of a call while there are as many as there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits for its place, within its time.
    #[default]
    Wait,
    /// It ends with [`RequestError::TooMany`](crate::RequestError::TooMany).
    Refuse,
}
