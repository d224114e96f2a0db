//! Promise: every recorded session passes unchanged and is recorded as it was; every hostile one is cut, with nothing
//! from the offending frame on forwarded; whatever is done to the bytes, the record is what was forwarded.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/capture.rs"]
#[expect(dead_code, reason = "shared with the tests that name their captures")]
mod capture;
#[path = "support/play.rs"]
mod play;
#[path = "support/random.rs"]
mod random;

use std::collections::BTreeMap;

use hawser_frames::{Direction, ExitStatus, SessionSpec, Transport};
use sha2::{Digest, Sha256};

use capture::{Capture, Must, Payload};
use play::{Played, Step, data_of, play};
use random::Random;

#[test]
fn the_corpus_is_whole() {
    let captures = Capture::all();
    let count = |must| captures.iter().filter(|capture| capture.must == must).count();
    assert_eq!((count(Must::Accept), count(Must::Cut), count(Must::Either)), CORPUS);
}

#[test]
fn each_capture_as_it_came() {
    for capture in Capture::all() {
        check(&capture, &capture.steps);
    }
}

#[test]
fn each_capture_byte_by_byte() {
    for capture in Capture::all() {
        check(&capture, &in_pieces(&capture.steps, || 1));
    }
}

#[test]
fn each_capture_in_random_pieces() {
    let mut random = Random(1);
    for capture in Capture::all() {
        for most in [40, 5000] {
            check(&capture, &in_pieces(&capture.steps, || 1 + random.below(most)));
        }
    }
}

#[test]
fn a_cut_comes_at_the_same_byte_in_any_pieces() {
    for capture in Capture::all().iter().filter(|capture| capture.must != Must::Accept) {
        let [whole, bytes] =
            [&capture.steps, &in_pieces(&capture.steps, || 1)].map(|steps| play(capture.spec(), steps));
        assert_eq!(whole.cut, bytes.cut, "{}", capture.name);
        assert_eq!(whole.record, bytes.record, "{}", capture.name);
    }
}

#[test]
fn whatever_is_done_to_the_frames_the_record_is_what_was_forwarded() {
    let mut random = Random(2);
    let (mut cut, mut passed) = (0, 0);
    for capture in Capture::all().iter().filter(|capture| capture.must != Must::Cut) {
        let frames = frames(capture);
        let bytes = data_of(&frames, Direction::ServerToClient).len()
            + data_of(&frames, Direction::ClientToServer).len();
        let turns = if bytes > 50_000 { 4 } else { 60 };
        for _ in 0..turns {
            let mut mutant = frames.clone();
            for _ in 0..=random.below(2) {
                mutate(&mut mutant, &mut random);
            }
            let steps = in_pieces(&mutant, || 1 + random.below(2000));
            let played = play(capture.spec(), &steps);
            if played.cut.is_some() {
                cut += 1
            } else {
                passed += 1
            }
            check_prefix(&capture.name, &played, &steps);
            check_replay(&capture.name, capture.spec(), played);
        }
    }
    assert!(cut > 1000 && passed > 1000, "{cut} cut, {passed} passed: the mutants are not worth much");
}

fn check(capture: &Capture, steps: &[Step]) {
    let played = play(capture.spec(), steps);
    check_prefix(&capture.name, &played, steps);
    match (capture.must, played.cut) {
        (Must::Accept, Some(cut)) => panic!("{}: {cut}", capture.name),
        (Must::Cut, None) => panic!("{}: not cut", capture.name),
        (Must::Accept, None) => check_accepted(capture, &played),
        (Must::Cut, Some(_)) | (Must::Either, _) => {}
    }
    check_replay(&capture.name, capture.spec(), played);
}

/// All of it went on, and the record is the expected one.
fn check_accepted(capture: &Capture, played: &Played) {
    for (direction, expected) in
        [(Direction::ClientToServer, &capture.expect.c2s), (Direction::ServerToClient, &capture.expect.s2c)]
    {
        let missing = data_of(&capture.steps, direction).len() - played.forwarded(direction).len();
        assert!(missing <= 8, "{}: {missing} bytes held for ever", capture.name);
        let recorded: BTreeMap<_, _> = played
            .record
            .data
            .iter()
            .filter(|(stream, _)| stream.0 == direction)
            .map(|(stream, bytes)| (stream.1.clone(), digest(bytes)))
            .collect();
        let expected: BTreeMap<_, _> = expected
            .iter()
            .filter(|(_, payload)| payload.bytes > 0)
            .map(|(stream, payload)| (stream.clone(), (payload.bytes, payload.sha256.clone())))
            .collect();
        assert_eq!(recorded, expected, "{}", capture.name);
    }
    assert_eq!(played.record.resizes, capture.expect.resizes, "{}", capture.name);
    let error = played.record.data.get(&(Direction::ServerToClient, "error".into()));
    let status = error.map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    assert_eq!(status, capture.expect.status, "{}", capture.name);
    if let Some(status) = status {
        check_exit(capture, &status, played.session.exit_status());
    }
}

fn check_exit(capture: &Capture, status: &str, exit: Option<ExitStatus>) {
    let code = status.split("\"reason\":\"ExitCode\",\"message\":\"").nth(1);
    let code: Option<i32> = code.and_then(|text| text.split('"').next()?.parse().ok());
    match (exit, code) {
        (Some(ExitStatus::Code(got)), Some(code)) => assert_eq!(got, code, "{}", capture.name),
        (Some(ExitStatus::Success), None) => assert!(status.contains("Success"), "{}", capture.name),
        (Some(ExitStatus::Failure(text)), None) => {
            assert!(status.replace("\\\"", "\"").contains(&text), "{}", capture.name);
        }
        (exit, _) => panic!("{}: {exit:?} from {status}", capture.name),
    }
}

/// What went on is what came in, up to some byte; after a cut not all of it.
fn check_prefix(name: &str, played: &Played, steps: &[Step]) {
    for direction in [Direction::ClientToServer, Direction::ServerToClient] {
        let (came, went) = (data_of(steps, direction), played.forwarded(direction));
        assert!(came.starts_with(&went), "{name}: bytes were changed");
        let Some(cut) = played.cut.filter(|cut| cut.direction == direction) else { continue };
        assert_eq!(cut.forwarded, went.len() as u64, "{name}");
        assert!(went.len() < came.len(), "{name}: cut, but all of it went on");
    }
}

/// What went on is a session by itself, with the same record.
fn check_replay(name: &str, spec: SessionSpec<'_>, played: Played) {
    let again = play(spec, &played.forwarded);
    assert_eq!(again.cut, None, "{name}");
    assert_eq!(again.record, played.record, "{name}");
    for direction in [Direction::ClientToServer, Direction::ServerToClient] {
        assert_eq!(again.forwarded(direction), played.forwarded(direction), "{name}");
    }
}

fn digest(bytes: &[u8]) -> (usize, String) {
    let Payload { bytes, sha256 } = Payload {
        bytes: bytes.len(),
        sha256: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    (bytes, sha256)
}

fn in_pieces(steps: &[Step], mut length: impl FnMut() -> usize) -> Vec<Step> {
    let mut pieces = Vec::new();
    for step in steps {
        let Step::Data(direction, bytes) = step else {
            pieces.push(step.clone());
            continue;
        };
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(length().min(rest.len()));
            pieces.push(Step::Data(*direction, piece.to_vec()));
            rest = after;
        }
    }
    pieces
}

/// The steps, cut anew so that each is one frame, in the order in which they became whole.
fn frames(capture: &Capture) -> Vec<Step> {
    let mut frames = Vec::new();
    let mut held: BTreeMap<Direction, Vec<u8>> = BTreeMap::new();
    for step in &capture.steps {
        let Step::Data(direction, bytes) = step else { continue };
        let held = held.entry(*direction).or_default();
        held.extend(bytes);
        while let Some(length) = frame_length(capture.spec().transport, held).filter(|l| *l <= held.len()) {
            let rest = held.split_off(length);
            frames.push(Step::Data(*direction, std::mem::replace(held, rest)));
        }
    }
    frames
}

fn frame_length(transport: Transport, bytes: &[u8]) -> Option<usize> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    if transport == Transport::Spdy {
        return bytes.get(5..8).map(|length| 8 + number(length));
    }
    let second = *bytes.get(1)?;
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    Some(match second & 0x7f {
        126 => 4 + mask + number(bytes.get(2..4)?),
        127 => 10 + mask + number(bytes.get(2..10)?),
        short => 2 + mask + usize::from(short),
    })
}

fn mutate(frames: &mut Vec<Step>, random: &mut Random) {
    if frames.is_empty() {
        return;
    }
    let at = random.below(frames.len());
    let to = random.below(frames.len());
    match random.below(6) {
        0 => {
            frames.remove(at);
        }
        1 => frames.insert(at, frames[at].clone()),
        2 => frames.swap(at, to),
        3 => {
            let frame = frames.remove(at);
            frames.insert(to.min(frames.len()), frame);
        }
        4 => {
            let Step::Data(_, bytes) = &mut frames[at] else { return };
            let length = random.below(bytes.len());
            bytes.truncate(length);
        }
        _ => {
            let Step::Data(_, bytes) = &mut frames[at] else { return };
            let position = random.below(bytes.len().min(40));
            let Some(byte) = bytes.get_mut(position) else { return };
            *byte ^= 1 << random.below(8);
        }
    }
}

/// How many files must be accepted, cut, and may be either.
const CORPUS: (usize, usize, usize) = (97, 75, 11);
