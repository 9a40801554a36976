use core::time::Duration;

/// What went over a channel in one direction since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Transport messages.
    pub transport_messages: u64,
    /// Bytes of transport messages, frame headers and gaps included.
    pub bytes: u64,
    /// The application's messages.
    pub messages: u64,
    /// Messages of the application's that were refused or could not be sent; each was also an
    /// event or ended the session, but for those on a channel that may lose messages.
    pub refused: u64,
    /// Body bytes that this side copied, transports not counted.
    pub copied_bytes: u64,
    /// Bytes that wait: to be sent, or to be read by the application.
    pub queued_bytes: u64,
    /// Limits granted anew because messages got lost.
    pub written_off_bytes: u64,
}

/// What a session knows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// My commands.
    pub commands_sent: ChannelStats,
    /// The peer's commands.
    pub commands_received: ChannelStats,
    /// My deltas.
    pub data_sent: ChannelStats,
    /// The peer's deltas.
    pub data_received: ChannelStats,
    /// Transport messages of control frames sent.
    pub control_sent: u64,
    /// Control frames that came.
    pub control_received: u64,
    /// Windows told once more in case that they got lost.
    pub windows_repeated: u64,
    /// Round-trip time, smoothed as in RFC 6298; `None` before the first pong.
    pub round_trip: Option<Duration>,
    /// Its mean deviation.
    pub round_trip_variation: Duration,
}
