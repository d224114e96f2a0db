//! Promise: wherever the server's direction stands between two frames, a session can be ended so that the client
//! reads the reason on its error stream; what was sent for it is itself within the grammar.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/capture.rs"]
#[expect(dead_code, reason = "shared with the tests that read what is expected")]
mod capture;
#[path = "support/play.rs"]
mod play;

use hawser_frames::Direction::{ClientToServer, ServerToClient};
use hawser_frames::{ExitStatus, Kind, REASON_BYTES_MAX, Session, SessionSpec, Transport};

use capture::{Capture, Must};
use play::{Played, Step, play};

const REASON: &str = "session ended by Hawser: \"access\" was withdrawn";

/// Ends the session after `steps`; what the client has then read, if there were closing frames.
fn end_after(spec: SessionSpec<'_>, steps: &[Step], reason: &str) -> Option<Played> {
    let mut played = play(spec, steps);
    assert_eq!(played.cut, None);
    let frames = played.session.closing_frames(reason)?;
    let mut again = play(spec, &played.forwarded);
    again.walk(ServerToClient, &frames);
    assert_eq!(again.cut, None);
    let went = again.forwarded(ServerToClient);
    assert!(went.ends_with(&frames), "part of the closing frames was held");
    Some(again)
}

#[test]
fn after_each_step_of_each_session() {
    let mut shown = 0;
    for capture in Capture::all().iter().filter(|capture| capture.must == Must::Accept) {
        let spec = capture.spec();
        let few = capture.steps.len().min(40);
        for steps in (0..few).map(|count| &capture.steps[..count]) {
            let before = play(spec, steps);
            let Some(after) = end_after(spec, steps, REASON) else { continue };
            shown += 1;
            match spec.kind {
                Kind::Exec | Kind::Attach => check_exec(&capture.name, &before, &after),
                Kind::PortForward => check_forward(&before, &after),
                Kind::Logs | Kind::Watch => {
                    assert_eq!(after.record.marks.last().unwrap().1, "close Some(1011)");
                }
            }
        }
    }
    assert!(shown > 1000, "{shown}");
}

/// The client shows the reason, or what the server had said before.
fn check_exec(name: &str, before: &Played, after: &Played) {
    let exit = after.session.exit_status();
    if before.record.data.contains_key(&(ServerToClient, "error".into())) {
        let said = before.session.exit_status();
        assert!(exit.is_some() && (said.is_none() || exit == said), "{name}");
    } else {
        assert_eq!(exit, Some(ExitStatus::Failure(REASON.into())), "{name}");
    }
}

/// Each error stream that was open got the text.
fn check_forward(before: &Played, after: &Played) {
    let texts = after.record.data.iter().filter(|(stream, _)| {
        stream.0 == ServerToClient && (stream.1.starts_with("error#") || stream.1 == "channel1")
    });
    let told = texts.filter(|(_, text)| text.ends_with(REASON.as_bytes())).count();
    let ended = |played: &Played, what: &str| {
        let marks = played.record.marks.iter();
        marks.filter(|(direction, mark)| *direction == ServerToClient && mark.starts_with(what)).count()
    };
    let newly_ended = ended(after, "fin error#") - ended(before, "fin error#");
    assert!(told > 0 && (newly_ended == 0 || told == newly_ended), "{told} told, {newly_ended} ended");
}

fn before_status(capture: &Capture) -> &[Step] {
    let status = |step: &Step| {
        let Step::Data(ServerToClient, bytes) = step else { return false };
        bytes.windows(8).any(|window| window == b"metadata")
    };
    &capture.steps[..capture.steps.iter().position(status).unwrap()]
}

#[test]
fn not_inside_a_frame() {
    let capture = Capture::named("exec-137-ws-nontty");
    let mut played = play(capture.spec(), before_status(&capture));
    played.walk(ServerToClient, &[0x82, 0x05]);
    assert!(end(&mut played).is_some(), "a header that is held can be dropped");

    let mut played = play(capture.spec(), before_status(&capture));
    played.walk(ServerToClient, &[0x82, 0x05, 1, b'x']);
    assert_eq!(end(&mut played), None);
}

#[test]
fn a_spdy_data_frame_is_filled_up() {
    let capture = Capture::named("exec-137-spdy-nontty");
    let begun = |id: u8, flags: u8| [0, 0, 0, id, flags, 0, 0, 10, b'a', b'b', b'c'];
    for flags in [0, 1] {
        let mut played = (0..capture.steps.len())
            .rev()
            .map(|steps| {
                let mut played = play(capture.spec(), &capture.steps[..steps]);
                played.walk(ServerToClient, &begun(STDOUT, flags));
                played
            })
            .find(|played| played.cut.is_none())
            .expect("stdout is open at some time");
        let frames = end(&mut played).unwrap();
        assert_eq!(frames[..7], [0; 7]);
        let mut again = play(capture.spec(), &played.forwarded);
        again.walk(ServerToClient, &frames);
        assert_eq!(
            (again.cut, again.session.exit_status()),
            (None, Some(ExitStatus::Failure(REASON.into())))
        );
    }
}

/// Id of the stdout stream in captures of kubectl's exec without stdin: it opens error, stdout, stderr.
const STDOUT: u8 = 3;

fn end(played: &mut Played) -> Option<Vec<u8>> {
    played.session.closing_frames(REASON)
}

#[test]
fn not_after_the_end() {
    for name in ["exec-137-ws-nontty", "exec-137-spdy-nontty", "logs-ws-binary", "portforward-137-ws"] {
        let capture = Capture::named(name);
        let mut played = play(capture.spec(), &capture.steps);
        assert_eq!(end(&mut played), None, "{name}");
    }
}

#[test]
fn not_before_the_error_stream_is_there() {
    let capture = Capture::named("exec-137-spdy-nontty");
    assert_eq!(capture.spec().transport, Transport::Spdy);
    let mut session = Session::new(capture.spec()).unwrap();
    assert_eq!(session.closing_frames(REASON), None);
}

#[test]
fn a_session_that_was_ended_takes_no_more() {
    let capture = Capture::named("exec-137-ws-nontty");
    let mut played = play(capture.spec(), before_status(&capture));
    assert!(end(&mut played).is_some());
    played.walk(ClientToServer, b"x");
    assert_eq!(played.cut.unwrap().rule, "session was ended");
}

#[test]
fn a_cut_in_one_direction_can_still_be_explained() {
    let capture = Capture::named("exec-137-spdy-stdin");
    let mut played = play(capture.spec(), before_status(&capture));
    played.walk(ClientToServer, &[0x80, 2, 0, 6, 0, 0, 0, 4]);
    assert!(played.cut.is_some());
    let frames = end(&mut played).unwrap();
    let mut again = play(capture.spec(), &played.forwarded);
    again.walk(ServerToClient, &frames);
    assert_eq!(again.session.exit_status(), Some(ExitStatus::Failure(REASON.into())));
}

#[test]
fn a_long_reason_is_shortened() {
    for name in ["exec-137-ws-nontty", "exec-ws-v4base64-exit7", "exec-137-spdy-nontty"] {
        let capture = Capture::named(name);
        let steps = before_status_or_end(&capture);
        let reason = format!("{}é and more", "x".repeat(REASON_BYTES_MAX - 1));
        let after = end_after(capture.spec(), steps, &reason).unwrap();
        let shown = "x".repeat(REASON_BYTES_MAX - 1);
        assert_eq!(after.session.exit_status(), Some(ExitStatus::Failure(shown)), "{name}");
    }
    let capture = Capture::named("logs-ws-binary");
    let mut session = Session::new(capture.spec()).unwrap();
    let frames = session.closing_frames(&"é".repeat(100)).unwrap();
    assert_eq!((frames[1], frames.len()), (124, 126));
}

/// base64 hides the status from a search: there, the first steps do.
fn before_status_or_end(capture: &Capture) -> &[Step] {
    if capture.name.contains("base64") { &capture.steps[..2] } else { before_status(capture) }
}

#[test]
fn old_protocols_get_text() {
    let capture = Capture::named("exec-ws-none-exit7");
    let after = end_after(capture.spec(), &capture.steps[..2], REASON).unwrap();
    assert_eq!(after.record.data[&(ServerToClient, "error".into())], REASON.as_bytes());
}

#[test]
fn orderly_ends_are_told_from_others() {
    let finished = |name: &str| {
        let capture = Capture::named(name);
        play(capture.spec(), &capture.steps).session.finished()
    };
    for name in ["exec-137-spdy-nontty", "exec-137-ws-stdin", "exec-122-spdy-tty", "logs-ws-binary"] {
        assert!(finished(name), "{name}");
    }
    assert!(!finished("exec-137-spdy-killed"), "no status");

    let capture = Capture::named("exec-137-spdy-nontty");
    let mut played = play(capture.spec(), before_status(&capture));
    assert!(!played.session.finished());
    played.session.end(ClientToServer);
    played.session.end(ServerToClient);
    assert!(!played.session.finished(), "a plain drop looks like success to the client");
}
