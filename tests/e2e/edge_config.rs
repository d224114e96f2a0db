//! An edge keeps its limits, takes a new configuration and new keys while it runs, whole or not at all, and ends in good
//! order.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use hawser_identity::Authorities;
use hawser_kube::clock::{Clock as _, SystemClock};
use hawser_tests::{run, until};
use hawser_tunnel::{Connection, TunnelStream, wire::Class};
use socket2::{Domain, Socket, Type};

#[path = "own_edge/agent.rs"]
mod agent;
#[path = "own_edge/client.rs"]
#[expect(dead_code, reason = "shared with `scripted_agent`, which needs more of it")]
mod client;
#[path = "own_edge/edge.rs"]
mod edge;

use agent::{Agent, pin};
use client::{Client, bearer, now, plain};
use edge::{Edge, HOST, hawser};

/// `count` header fields beside Host.
fn fields(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("X-Field-{number}: v")).collect()
}

/// Over HTTP/1.1, on a connection of its own.
fn code(edge: &Edge, fields: &[String]) -> u16 {
    let mut client = Client::connect(edge, "http/1.1").unwrap();
    client.ask("GET /version", fields);
    client.answer().0
}

/// Not before its time, and not long after it.
fn check_time(took: Duration, ms: u64) {
    let range = Duration::from_millis(ms * 9 / 10)..Duration::from_millis(ms + 2000);
    assert!(range.contains(&took), "{took:?}, not about {ms} ms");
}

#[test]
fn heads_end_at_their_limits() {
    let edge = Edge::start("limits: {headerBytesMax: 16Ki, headersMax: 32, headTimeout: 400ms}");
    // Nobody is signed in, so a head that is taken is answered 401.
    assert_eq!(code(&edge, &fields(31)), 401);
    assert_eq!(code(&edge, &fields(32)), 431);

    let around = format!("GET /version HTTP/1.1\r\nHost: {HOST}\r\nX: \r\n\r\n").len();
    let large = |bytes: usize| vec![format!("X: {}", "x".repeat(bytes - around))];
    assert_eq!(code(&edge, &large(16 << 10)), 401);
    assert_eq!(code(&edge, &large((16 << 10) + 1)), 431);

    let serving = edge.keys().join("serving-ca.pem");
    let over_h2 = |count: usize, bytes: usize| {
        let mut fields = fields(count);
        fields.push(bearer(&edge));
        fields.push(format!("X: {}", "x".repeat(bytes)));
        let mut args = vec!["--http2"];
        args.extend(fields.iter().flat_map(|field| ["-H", field.as_str()]));
        let ran = edge.curl(&serving, "/no/such/path", &args);
        ran.stdout.rsplit('\n').next().unwrap().to_owned()
    };
    assert_eq!(over_h2(32, 1), "431", "too many fields");
    assert_eq!(over_h2(0, 17 << 10), "431", "too large");

    let mut slow = Client::connect(&edge, "http/1.1").unwrap();
    slow.send("GET /version HTTP/1.1\r\nHost: ");
    let (answer, took) = slow.rest();
    assert_eq!(answer, "");
    check_time(took, 400);
}

#[test]
fn strangers_do_not_stay() {
    let edge = Edge::start(
        "limits: {handshakeTimeout: 300ms, unauthenticatedTimeout: 600ms, idleTimeout: 1500ms, routeWait: 0s}",
    );
    let began = now();
    let ended = plain(&edge).unwrap().read(&mut [0; 1]);
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    check_time(now() - began, 300);
    edge.counts("failed_handshakes_total 1");

    let mut no_preface = Client::connect(&edge, "h2").unwrap();
    check_time(no_preface.rest().1, 300);
    for (alpn, preface) in [("http/1.1", &b""[..]), ("h2", H2_PREFACE)] {
        let mut silent = Client::connect(&edge, alpn).unwrap();
        silent.send(preface);
        check_time(silent.rest().1, 600);
    }

    let mut known = Client::connect(&edge, "http/1.1").unwrap();
    assert_eq!(known.signed_in(&edge).0, 503, "no agent is there");
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(known.signed_in(&edge).0, 503, "still open");
    let (answer, took) = known.rest();
    assert_eq!(answer, "");
    check_time(took, 1500);
}

#[test]
fn one_source_cannot_take_all_connections() {
    let edge = Edge::start("limits: {connectionsPerSourceMax: 2, connectionsMax: 3}");
    let serving = edge.keys().join("serving-ca.pem");
    let from_elsewhere = || edge.curl(&serving, "/version", &["--interface", "127.0.0.2"]);
    let _first = Client::connect(&edge, "http/1.1").unwrap();
    let second = Client::connect(&edge, "http/1.1").unwrap();
    assert!(Client::connect(&edge, "http/1.1").is_err(), "a third is closed before TLS");
    edge.counts("refused_connections_total 1");
    assert!(from_elsewhere().stdout.ends_with("401"), "another source has its own");

    drop(second);
    edge.counts("connections 1");
    let _second = Client::connect(&edge, "http/1.1").unwrap();
    edge.configure("limits: {connectionsPerSourceMax: 2, connectionsMax: 2}");
    edge.reload();
    assert_eq!(from_elsewhere().code, 35, "all places are taken");
    edge.counts("refused_connections_total 2");
}

#[test]
fn the_health_listener_has_places_for_many_sources() {
    let edge = Edge::start("");
    // Held open: the request has no end.
    let ask = |source: u8, end: &str| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, source], 0)).into()).unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], edge.health)).into()).unwrap();
        let mut connection = TcpStream::from(socket);
        connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        connection.write_all(format!("GET /livez HTTP/1.1\r\nHost: edge\r\n{end}").as_bytes()).unwrap();
        connection
    };
    let answers = |source| {
        let mut answer = [0; 12];
        ask(source, "\r\n").read_exact(&mut answer).is_ok_and(|()| &answer == b"HTTP/1.1 200")
    };
    let mut held: Vec<_> = (0..16).map(|_| ask(2, "")).collect();
    until("one source has its share", Duration::from_secs(5), || !answers(2));
    assert!(answers(3), "another has its own");
    for source in 3..=5 {
        held.extend((0..16).map(|_| ask(source, "")));
    }
    until("all places are taken", Duration::from_secs(5), || !answers(6));
    held.truncate(63);
    until("there is room again", Duration::from_secs(5), || answers(6));
}

#[test]
fn a_client_is_told_how_many_streams_it_may_open() {
    let edge = Edge::start("limits: {streamsMax: 123}");
    assert_eq!(streams_max(&edge), 123);
    edge.configure("limits: {streamsMax: 321}");
    edge.reload();
    assert_eq!(streams_max(&edge), 321);
}

/// SETTINGS_MAX_CONCURRENT_STREAMS, as the edge sends it.
fn streams_max(edge: &Edge) -> u32 {
    let mut client = Client::connect(edge, "h2").unwrap();
    client.send(H2_PREFACE);
    let bytes = client.some();
    let (length, kind) = (usize::from(bytes[2]), bytes[3]);
    assert_eq!(kind, 4, "SETTINGS come first");
    let settings = bytes[9..9 + length].chunks_exact(6);
    let found = settings.clone().find(|setting| setting[..2] == [0, 3]).unwrap();
    u32::from_be_bytes(found[2..].try_into().unwrap())
}

#[test]
fn who_waits_does_not_wait_for_ever() {
    let edge = Edge::start("limits: {bodyWait: 300ms, responseWait: 1s, routeWait: 700ms}");
    let timed = |line: &str, more: &[&str]| {
        let mut client = Client::connect(&edge, "http/1.1").unwrap();
        let fields: Vec<String> =
            more.iter().map(|field| (*field).to_owned()).chain([bearer(&edge)]).collect();
        let began = now();
        client.ask(line, &fields);
        (client.answer(), now() - began, client)
    };
    let ((status, text), took, _) = timed("GET /api/v1/pods", &[]);
    assert_eq!(status, 503, "{text}");
    check_time(took, 700);

    let _agent = silent_agent(&edge);
    edge.counts("links 1");
    let ((status, text), took, _) = timed("GET /api/v1/pods", &[]);
    assert!(status == 504 && text.contains("no answer within 1s"), "{text}");
    check_time(took, 1000);
    let post = "POST /api/v1/namespaces/default/configmaps";
    let ((status, text), took, mut stalled) = timed(post, &["Content-Length: 10"]);
    assert!(status == 408 && text.contains("did not come in time"), "{text}");
    check_time(took, 300);
    let _ended = stalled.rest();
}

#[test]
fn a_full_audit_log_has_the_answer_that_was_chosen() {
    for (on_full, refused) in [("refuse", true), ("count", false)] {
        let edge = Edge::start(&format!("audit: {{queue: 1, onFull: {on_full}}}\nlimits: {{routeWait: 2s}}"));
        // It waits for its cluster, and has the only place.
        let mut first = Client::connect(&edge, "http/1.1").unwrap();
        first.ask("GET /api/v1/namespaces", &[bearer(&edge)]);
        edge.counts("live_exchanges 1");
        let (status, text) = Client::connect(&edge, "http/1.1").unwrap().signed_in(&edge);
        assert_eq!(status, 503, "{text}");
        assert_eq!(text.contains("the audit log is full"), refused, "{text}");
        assert!(first.answer().1.contains("no agent is connected"));
        let (_, text) = Client::connect(&edge, "http/1.1").unwrap().signed_in(&edge);
        assert!(text.contains("no agent is connected"), "there is room again: {text}");
    }
}

#[test]
fn a_configuration_is_taken_whole_or_not_at_all() {
    let edge = Edge::start("limits: {headersMax: 64, routeWait: 0s}");
    let mut before = Client::connect(&edge, "http/1.1").unwrap();
    assert_eq!(before.signed_in(&edge).0, 503);
    assert_eq!(code(&edge, &fields(40)), 401);

    edge.configure("workers: 7\nlimits: {headersMax: 32, routeWait: 0s}");
    edge.reload();
    assert_eq!(code(&edge, &fields(40)), 431);
    before.ask("GET /version", &fields(40));
    assert_eq!(before.answer().0, 401, "a connection keeps what was in force when it began");
    edge.logs("key=\"limits.headersMax\" from=64 to=32");
    edge.logs("this change takes a restart of the edge key=\"workers\" from=one per core to=7");
    assert!(!edge.log().contains("key=\"listen\""), "{}", edge.log());

    // Valid but for two keys: nothing of it is taken.
    edge.configure("limits: {headersMax: 64, streamsMax: 7, bodyWait: long}");
    edge.reload();
    edge.logs("edge.yaml:4: limits.streamsMax: 7: must be a whole number from 100 to 1000");
    edge.logs("edge.yaml:4: limits.bodyWait: \"long\": must be a time");
    assert_eq!(code(&edge, &fields(40)), 431);
    for (bad, told) in [("limits: {headers: 64}", "`headers`"), ("limits: [", "edge.yaml:")] {
        let refused = edge.logged("configuration refused");
        edge.configure(bad);
        edge.reload();
        assert_eq!(edge.logged("configuration refused"), refused + 1);
        edge.logs(told);
        assert_eq!(code(&edge, &fields(40)), 431);
    }

    // Without a signal.
    edge.configure("limits: {headersMax: 48}");
    until("the change is seen", Duration::from_secs(15), || code(&edge, &fields(40)) == 401);
    assert_eq!(code(&edge, &fields(48)), 431);
}

#[test]
fn keys_are_taken_whole_or_not_at_all() {
    let edge = Edge::start("limits: {responseWait: 1s}");
    let (files, elsewhere) = (edge.keys(), tempfile::tempdir().unwrap());
    let other = Authorities::load_or_create(elsewhere.path(), SystemClock.wall()).unwrap();
    let kept = |name: &str| {
        let path = edge.folder.path().join(format!("before-{name}"));
        fs::copy(files.join(name), &path).unwrap();
        path
    };
    let (serving_before, clients_before) = (kept("serving-ca.pem"), kept("clients-ca.pem"));
    let serving_after = elsewhere.path().join("serving-ca.pem");
    let signed_in = |ca: &Path, certificate: &str| edge.curl(ca, "/api", &["--cert", certificate]);
    let certificate = edge.folder.path().join("bob.pem");
    fs::write(&certificate, edge.certificate()).unwrap();
    let certificate = certificate.to_str().unwrap();
    let agent = silent_agent(&edge);
    edge.counts("links 1");
    // Who is let in learns that the agent does not answer.
    assert!(signed_in(&serving_before, certificate).stdout.ends_with("504"));

    // One file is good and one is not.
    replace(&files.join("serving-ca.pem"), &fs::read_to_string(&serving_after).unwrap());
    replace(&files.join("clients-ca.pem"), "damaged");
    edge.reload();
    edge.logs("keys refused");
    assert!(edge.log().contains("clients-ca.pem"), "{}", edge.log());
    assert!(signed_in(&serving_before, certificate).stdout.ends_with("504"));
    assert_eq!(signed_in(&serving_after, certificate).code, 60, "not trusted");

    // Both are good, the one for clients with the authority before it.
    let clients = fs::read_to_string(elsewhere.path().join("clients-ca.pem")).unwrap();
    let before = fs::read_to_string(&clients_before).unwrap();
    let authority_before = &before[before.find("-----BEGIN CERT").unwrap()..];
    replace(&files.join("clients-ca.pem"), &format!("{clients}{authority_before}"));
    edge.reload();
    assert_eq!(signed_in(&serving_before, certificate).code, 60, "not trusted");
    assert!(signed_in(&serving_after, certificate).stdout.ends_with("504"));
    let fresh = other.clients.issue_client("bob@example.com", "unknown", DAY, SystemClock.wall()).unwrap();
    let unknown = edge.folder.path().join("unknown.pem");
    fs::write(&unknown, format!("{}{}", fresh.cert_pem, fresh.key_pem)).unwrap();
    let answer = signed_in(&serving_after, unknown.to_str().unwrap()).stdout;
    assert!(answer.contains("credential unknown was withdrawn"), "its certificate is good: {answer}");
    // Agents see the new authority too, and links go on.
    edge.counts("links 1");
    let _another = silent_agent(&edge);
    edge.counts("links 2");
    drop(agent);

    // Without a signal: now without the authority before.
    replace(&files.join("clients-ca.pem"), &clients);
    until("the change is seen", Duration::from_secs(15), || {
        signed_in(&serving_after, certificate).stdout.ends_with("401")
    });

    // Another authority of agents: new links are by its certificates, those that are there go on.
    let agents = fs::read_to_string(elsewhere.path().join("agents-ca.pem")).unwrap();
    edge.counts("links 1");
    replace(&files.join("agents-ca.pem"), &agents);
    edge.reload();
    let _by_the_new_one = silent_agent(&edge);
    edge.counts("links 2");
}

/// In one step, and only for its owner's eyes.
fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(beside, file).unwrap();
}

#[test]
fn a_drain_ends_what_is_idle_at_once() {
    let mut edge = Edge::start("limits: {routeWait: 0s}\ndrainTimeout: 20s");
    let mut idle = Client::connect(&edge, "http/1.1").unwrap();
    assert_eq!(idle.signed_in(&edge).0, 503);
    let began = now();
    edge.signal("-TERM");
    let (answer, _) = idle.rest();
    assert_eq!(answer, "");
    let status = edge.ended(Duration::from_secs(5));
    check_ended(status.code(), began);
    assert!(edge.log().contains("edge down"), "{}", edge.log());
    // Nor has the edge waited for this client to close.
    drop(idle);
}

fn check_ended(code: Option<i32>, began: Instant) {
    assert_eq!(code, Some(0));
    let took = now() - began;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn the_first_stage_is_audited_where_it_is_asked_for() {
    for (config, stages) in [
        ("", &["ResponseComplete"][..]),
        ("audit: {requestReceived: true}", &["RequestReceived", "ResponseComplete"]),
    ] {
        let edge = Edge::start(&format!("limits: {{routeWait: 0s}}\n{config}"));
        assert_eq!(Client::connect(&edge, "http/1.1").unwrap().signed_in(&edge).0, 503);
        let mut events: Vec<serde_json::Value> = Vec::new();
        until("the last stage is written", Duration::from_secs(10), || {
            let text = fs::read_to_string(edge.folder.path().join("data/audit/audit.log")).unwrap();
            events = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            events.last().is_some_and(|event| event["stage"] == "ResponseComplete")
        });
        assert_eq!(events.iter().map(|event| &event["stage"]).collect::<Vec<_>>(), stages);
        let (first, last) = (&events[0], &events[events.len() - 1]);
        for field in ["level", "auditID", "requestURI", "verb", "user", "sourceIPs", "objectRef"] {
            assert_eq!(first[field], last[field], "{field}");
        }
        assert_eq!(last["responseStatus"]["code"], 503);
        if stages.len() == 2 {
            assert_eq!(first["stageTimestamp"], first["requestReceivedTimestamp"]);
            assert!(first.get("responseStatus").is_none() && first.get("annotations").is_none(), "{first}");
        }
    }
}

#[test]
fn a_second_edge_does_not_share_the_port() {
    let edge = Edge::start("");
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", edge.port);
    let ran = run(hawser(&["up", "--listen", &address, "--health", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(folder.path()));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains(&format!("cannot listen on {address} (choose with --listen)")), "{ran:?}");
}

#[test]
fn a_bad_configuration_is_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.yaml");
    let check = |text: &str, more: &[&str]| {
        fs::write(&path, text).unwrap();
        run(hawser(&["edge", "--config", path.to_str().unwrap()]).args(more))
    };
    let bad = "limits:\n  headersMax: 5\n  bodyWait: 5\n";
    for more in [&["--check"][..], &[]] {
        let ran = check(bad, more);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.contains("edge.yaml:2: limits.headersMax: 5: must be "), "{ran:?}");
        assert!(ran.stderr.contains("edge.yaml:3: limits.bodyWait: 5: must be "), "{ran:?}");
    }
    let ran = check("limits: {headersMax: 50}", &["--check"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "the configuration is valid\n"), "{ran:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn every_room_is_in_the_metrics() {
    let edge = Edge::start("limits: {routeWait: 0s}");
    assert_eq!(Client::connect(&edge, "http/1.1").unwrap().signed_in(&edge).0, 503);
    until("an audit event is counted", Duration::from_secs(10), || {
        edge.metrics().lines().any(|line| line == "hawser_audit_written_total 1")
    });
    let metrics = edge.metrics();
    for line in [
        "hawser_audit_dropped_total 0",
        "hawser_store_queue_full_total 0",
        "hawser_store_watches_lagged_total 0",
        "hawser_handover_ring_full_total 0",
    ] {
        assert!(metrics.lines().any(|counted| counted == line), "{line} in {metrics}");
    }
}

/// Takes requests and never answers them, so that what waits for an answer can be seen to end.
fn silent_agent(edge: &Edge) -> Agent {
    Agent::connect(edge, "silent", &[Class::General], hold)
}

/// With a certificate that was issued under this pin; `None` when the edge does not take it.
fn silent_agent_under(edge: &Edge, pin: &str) -> Option<Agent> {
    Agent::under(edge, pin, "silent", &[Class::General], hold)
}

async fn hold(_link: Connection, stream: TunnelStream) {
    let _held = stream;
    std::future::pending().await
}

/// Preface and empty SETTINGS of an HTTP/2 client.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn agents_of_a_cluster_that_was_replaced_or_deleted_are_cut_off() {
    let edge = Edge::start("");
    let links = |count: usize| edge.counts(&format!("links {count}"));
    let of_old = pin(&edge, "old");
    let _old = silent_agent_under(&edge, &of_old).unwrap();
    links(1);
    let of_new = pin(&edge, "new");
    links(0);
    assert!(silent_agent_under(&edge, &of_old).is_none(), "its certificate is good for an hour");
    let _new = silent_agent_under(&edge, &of_new).unwrap();
    links(1);
    let deleted =
        run(hawser(&["delete", "cluster", "demo", "--data-dir"]).arg(edge.folder.path().join("data")));
    assert_eq!((deleted.code, deleted.stdout.as_str()), (0, "cluster/demo deleted\n"));
    links(0);
    assert!(silent_agent_under(&edge, &of_new).is_none());
}
