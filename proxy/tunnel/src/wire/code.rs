//! Numbers for the reasons why a stream or a link was ended. Frozen like the messages.

use hawser_kube::close::CloseReason;

/// A stream that the far side never looked at: whatever it carried may be sent again.
pub const REFUSED: u32 = 1;

/// The number of a reason.
#[must_use]
pub const fn code_of(reason: &CloseReason) -> u32 {
    match reason {
        CloseReason::ClientGone => 16,
        CloseReason::Drain => 17,
        CloseReason::LinkLost => 18,
        CloseReason::AgentGone => 19,
        CloseReason::UpstreamGone => 20,
        CloseReason::Revoked => 21,
        CloseReason::Timeout => 22,
        CloseReason::BadStream(_) => 23,
        CloseReason::LimitReached => 24,
        CloseReason::Shutdown => 25,
    }
}

/// The reason of a number. What a later version may send comes out as [`CloseReason::LinkLost`]: the
/// far side ended it for a cause unknown here.
#[must_use]
pub const fn reason_of(code: u64) -> CloseReason {
    match code {
        16 => CloseReason::ClientGone,
        17 => CloseReason::Drain,
        19 => CloseReason::AgentGone,
        20 => CloseReason::UpstreamGone,
        21 => CloseReason::Revoked,
        22 => CloseReason::Timeout,
        23 => CloseReason::BadStream(std::borrow::Cow::Borrowed("found by the other end of the tunnel")),
        24 => CloseReason::LimitReached,
        25 => CloseReason::Shutdown,
        _unknown => CloseReason::LinkLost,
    }
}
