//! Plays bytes through a session and keeps what a recorder would have kept.

use std::collections::BTreeMap;

use bytes::BytesMut;
use hawser_frames::{Cut, Direction, Event, ForwardPart, Session, SessionSpec, Stream};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Data(Direction, Vec<u8>),
    Eof(Direction),
}

pub(crate) struct Played {
    pub(crate) session: Session,
    pub(crate) cut: Option<Cut>,
    pub(crate) record: Record,
    /// What was forwarded, in order; one step for each run of one direction.
    pub(crate) forwarded: Vec<Step>,
}

/// The record, without the boundaries of the calls.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) data: BTreeMap<(Direction, String), Vec<u8>>,
    pub(crate) resizes: Vec<(u16, u16)>,
    pub(crate) marks: Vec<(Direction, String)>,
}

pub(crate) fn play(spec: SessionSpec<'_>, steps: &[Step]) -> Played {
    let mut played = Played {
        session: Session::new(spec).unwrap(),
        cut: None,
        record: Record::default(),
        forwarded: Vec::new(),
    };
    for step in steps {
        match step {
            Step::Eof(direction) => {
                played.session.end(*direction);
                played.forwarded.push(step.clone());
            }
            Step::Data(direction, bytes) => {
                played.walk(*direction, bytes);
                if played.cut.is_some() {
                    break;
                }
            }
        }
    }
    played
}

impl Played {
    pub(crate) fn walk(&mut self, direction: Direction, bytes: &[u8]) {
        let mut forward = BytesMut::new();
        let record = &mut self.record;
        let result =
            self.session.walk(direction, bytes, &mut forward, &mut |event| record.note(direction, event));
        self.cut = result.err();
        match self.forwarded.last_mut() {
            Some(Step::Data(of, bytes)) if *of == direction => bytes.extend(forward),
            _ if forward.is_empty() => {}
            _ => self.forwarded.push(Step::Data(direction, forward.to_vec())),
        }
    }

    pub(crate) fn forwarded(&self, direction: Direction) -> Vec<u8> {
        data_of(&self.forwarded, direction)
    }
}

pub(crate) fn data_of(steps: &[Step], direction: Direction) -> Vec<u8> {
    let data = steps.iter().filter_map(|step| match step {
        Step::Data(of, bytes) if *of == direction => Some(bytes.as_slice()),
        Step::Data(..) | Step::Eof(_) => None,
    });
    data.collect::<Vec<_>>().concat()
}

impl Record {
    fn note(&mut self, direction: Direction, event: Event<'_>) {
        match event {
            Event::Data { stream, bytes, .. } => {
                assert!(!bytes.is_empty());
                self.data.entry((direction, name(stream))).or_default().extend(bytes);
            }
            Event::Resize { width, height } => self.resizes.push((width, height)),
            Event::Open { stream } => self.mark(direction, format!("open {}", name(stream))),
            Event::Fin { stream } => self.mark(direction, format!("fin {}", name(stream))),
            Event::Reset { stream, status } => {
                self.mark(direction, format!("reset {} {status}", name(stream)));
            }
            Event::KeepAlive => self.mark(direction, "keepalive".into()),
            Event::Close { code } => self.mark(direction, format!("close {code:?}")),
        }
    }

    fn mark(&mut self, direction: Direction, text: String) {
        self.marks.push((direction, text));
    }
}

fn name(stream: Stream<'_>) -> String {
    match stream {
        Stream::Stdin => "stdin".into(),
        Stream::Stdout => "stdout".into(),
        Stream::Stderr => "stderr".into(),
        Stream::Error => "error".into(),
        Stream::Resize => "resize".into(),
        Stream::Forward { part: ForwardPart::Data, request_id, port } => format!("data#{request_id}:{port}"),
        Stream::Forward { part: ForwardPart::Error, request_id, port } => {
            format!("error#{request_id}:{port}")
        }
        Stream::Channel(channel) => format!("channel{channel}"),
        Stream::Output => "stream".into(),
    }
}
