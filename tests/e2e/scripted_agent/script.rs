//! An agent that plays a script: for each request the steps that a test has written for it.

use std::{sync::Arc, time::Duration};

use hawser_kube::close::CloseReason;
use hawser_tunnel::{
    Connection, RecvHalf, StreamError, TunnelStream,
    wire::{Class, ReplyV1, RequestV1},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{agent::Agent, edge::Edge};

/// What the agent does about a request. After the last step it keeps the stream and says nothing more.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Says this.
    Say(ReplyV1),
    /// Sends bytes as they are: of a body, or of what is no message.
    Send(Vec<u8>),
    /// Sends them again and again, as long as they are taken.
    SendForEver(Vec<u8>),
    /// Reads what the client sends, until it ends or pauses for a second; [`ScriptedAgent::received`] tells how much.
    Receive,
    /// Waits for [`ScriptedAgent::go_on`].
    Wait,
    /// Waits so long.
    Pause(Duration),
    /// Ends the stream in good order.
    Finish,
    /// Breaks the stream off.
    Reset,
    /// Turns the stream down, as if it had not looked at it.
    Refuse,
    /// Closes the link.
    Close,
}

/// A connected agent of cluster `demo`, for requests of every class.
pub(crate) struct ScriptedAgent {
    seen: Arc<Seen>,
    _agent: Agent,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<RequestV1>>,
    received: Mutex<Option<usize>>,
    go_on: Notify,
}

impl ScriptedAgent {
    pub(crate) fn connect(
        edge: &Edge,
        replica: &'static str,
        script: impl Fn(&RequestV1) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::new(Seen::default());
        let (script, of_agent) = (Arc::new(script), Arc::clone(&seen));
        let agent = Agent::connect(edge, replica, &[Class::General, Class::Bulk], move |link, stream| {
            serve(link, stream, Arc::clone(&script), Arc::clone(&of_agent))
        });
        Self { seen, _agent: agent }
    }

    /// The requests that it got.
    pub(crate) fn took(&self) -> Vec<RequestV1> {
        self.seen.requests.lock().clone()
    }

    /// How many bytes it read in [`Step::Receive`], once that is over.
    pub(crate) fn received(&self) -> Option<usize> {
        *self.seen.received.lock()
    }

    /// Ends one wait.
    pub(crate) fn go_on(&self) {
        self.seen.go_on.notify_one();
    }
}

async fn serve(
    link: Connection,
    mut stream: TunnelStream,
    script: Arc<impl Fn(&RequestV1) -> Vec<Step>>,
    seen: Arc<Seen>,
) {
    let Ok(request) = stream.recv.recv_request().await else { return };
    let steps = script(&request);
    seen.requests.lock().push(request);
    for step in steps {
        if matches!(step, Step::Refuse) {
            return stream.refuse();
        }
        // The edge may have had enough.
        if play(step, &link, &mut stream, &seen).await.is_err() {
            return;
        }
    }
    std::future::pending().await
}

async fn play(
    step: Step,
    link: &Connection,
    stream: &mut TunnelStream,
    seen: &Seen,
) -> Result<(), StreamError> {
    match step {
        Step::Say(reply) => stream.send.send_reply(&reply).await?,
        Step::Send(bytes) => stream.send.write(bytes.into()).await?,
        Step::SendForEver(bytes) => loop {
            stream.send.write(bytes.clone().into()).await?;
        },
        Step::Receive => *seen.received.lock() = Some(receive(&mut stream.recv).await),
        Step::Wait => seen.go_on.notified().await,
        Step::Pause(time) => tokio::time::sleep(time).await,
        Step::Finish => stream.send.finish(),
        Step::Reset => stream.send.reset(&CloseReason::UpstreamGone),
        Step::Close => link.close(CloseReason::AgentGone),
        Step::Refuse => {}
    }
    Ok(())
}

async fn receive(recv: &mut RecvHalf) -> usize {
    let mut received = 0;
    while let Ok(Ok(Some(bytes))) = tokio::time::timeout(Duration::from_secs(1), recv.read()).await {
        received += bytes.len();
    }
    received
}

/// The head of an answer that has a body.
pub(crate) fn head(status: u16, headers: &[(&str, &str)]) -> Step {
    Step::Send(raw_head(status, headers, false))
}

/// A `ReplyV1::Head` byte by byte, so that it can hold what is no header field too.
pub(crate) fn raw_head(status: u16, headers: &[(&str, &str)], end: bool) -> Vec<u8> {
    let low = u8::try_from(status % 128).unwrap() | 128;
    let mut message = vec![0, 2, 2, low, u8::try_from(status / 128).unwrap()];
    message.push(u8::try_from(headers.len()).unwrap());
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        assert!(text.len() < 128, "a length of one byte");
        message.push(u8::try_from(text.len()).unwrap());
        message.extend(text.as_bytes());
    }
    message.push(u8::from(end));
    [&u32::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat()
}

/// A whole answer.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<Step> {
    vec![Step::Say(ReplyV1::Dispatched), head(status, headers), Step::Send(body.to_vec()), Step::Finish]
}
