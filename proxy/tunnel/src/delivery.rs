//! May a request be sent again? The marks of one exchange, without I/O.
//!
//! A write must reach the API server at most once, so what counts is what may have happened, not what
//! probably did: once the request was put on a link and the link broke without a word, it may have
//! been carried out. Only an agent's own refusal proves that it was not.

use crate::wire::ReplyV1;

/// How often a request may move on because agents refused it.
pub const REFUSALS_MAX: u8 = 3;

/// How far one exchange has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    stage: Stage,
    /// A request that can be repeated is repeated once.
    repeated: bool,
    refusals: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Undelivered,
    Sent,
    Dispatched,
    HeadSeen,
}

/// What may be done about an exchange whose link or stream is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it on another link; counts as a new beginning.
    Retry,
    /// It may have been carried out: tell the client so, and not to try again by itself.
    MaybeDelivered,
    /// It was not carried out, but no more attempts are left.
    NotDelivered,
    /// The client has a part of the response: end it visibly incomplete.
    Truncated,
}

impl Delivery {
    /// A request that has not been sent.
    #[must_use]
    pub const fn new() -> Self {
        Self { stage: Stage::Undelivered, repeated: false, refusals: 0 }
    }

    /// The first byte of the request is about to be written to a link.
    pub fn on_sent(&mut self) {
        if self.stage == Stage::Undelivered {
            self.stage = Stage::Sent;
        }
    }

    /// An agent said something. For [`ReplyV1::Refused`] ask [`Delivery::on_refused`] what to do.
    pub fn on_reply(&mut self, reply: &ReplyV1) {
        match reply {
            ReplyV1::Dispatched | ReplyV1::Failed { maybe_delivered: true, .. } => {
                self.stage = self.stage_at_least_dispatched();
            }
            ReplyV1::Head { .. } => self.stage = Stage::HeadSeen,
            ReplyV1::Refused { .. } | ReplyV1::Failed { maybe_delivered: false, .. } => {}
        }
    }

    /// The link or the stream is gone without a refusal. `safe`: a GET or HEAD that is neither an
    /// upgrade nor a proxy request.
    pub fn on_loss(&mut self, safe: bool) -> Verdict {
        match self.stage {
            Stage::HeadSeen => Verdict::Truncated,
            Stage::Undelivered => self.again(),
            Stage::Sent | Stage::Dispatched if safe => {
                if self.repeated {
                    return Verdict::MaybeDelivered;
                }
                self.again()
            }
            Stage::Sent | Stage::Dispatched => Verdict::MaybeDelivered,
        }
    }

    /// The far side refused the request, by message or by refusing the stream. After a mark to the
    /// contrary the refusal is not believed.
    pub fn on_refused(&mut self) -> Verdict {
        match self.stage {
            Stage::HeadSeen => Verdict::Truncated,
            Stage::Dispatched => Verdict::MaybeDelivered,
            Stage::Undelivered | Stage::Sent => {
                self.refusals += 1;
                self.stage = Stage::Undelivered;
                if self.refusals > REFUSALS_MAX { Verdict::NotDelivered } else { Verdict::Retry }
            }
        }
    }

    /// Whether the start of the body must still be kept in case the request moves on.
    #[must_use]
    pub const fn may_move(&self) -> bool {
        matches!(self.stage, Stage::Undelivered | Stage::Sent)
    }

    fn again(&mut self) -> Verdict {
        if self.stage == Stage::Undelivered && self.repeated {
            return Verdict::NotDelivered;
        }
        self.repeated = true;
        self.stage = Stage::Undelivered;
        Verdict::Retry
    }

    fn stage_at_least_dispatched(&self) -> Stage {
        match self.stage {
            Stage::HeadSeen => Stage::HeadSeen,
            Stage::Undelivered | Stage::Sent | Stage::Dispatched => Stage::Dispatched,
        }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self::new()
    }
}
