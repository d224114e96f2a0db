//! exec, attach, cp, port-forward and logs work through Hawser as directly, over WebSocket and over SPDY: output, exit
//! codes, end of input, every last byte.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use hawser_tests::{Curl, Sandbox, Way, ok, run, run_with, until};

/// Forces SPDY on new kubectls.
fn spdy(command: &mut Command) -> &mut Command {
    command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false").env("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")
}

/// The same command over both transports.
fn both(sandbox: &Sandbox, args: &[&str], check: impl Fn(&mut Command)) {
    check(&mut sandbox.kubectl(Way::Hawser, args));
    check(spdy(&mut sandbox.kubectl(Way::Hawser, args)));
}

#[test]
fn exec_gives_output_and_exit_code() {
    let sandbox = Sandbox::new("exec");
    let script = "echo out; echo err >&2; exit 7";
    both(&sandbox, &["exec", "p", "--", "sh", "-c", script], |command| {
        let ran = run(command);
        assert_eq!((ran.stdout.as_str(), ran.code), ("out\n", 7), "{ran:?}");
        assert_eq!(ran.stderr, "err\ncommand terminated with exit code 7\n");
    });
    both(&sandbox, &["exec", "p", "--", "true"], |command| assert_eq!(run(command).code, 0));
    both(&sandbox, &["exec", "p", "--", "no-such-program"], |command| assert_ne!(run(command).code, 0));
    both(&sandbox, &["exec", "p", "--", "echo", "a b", ";", "&%", "ünï", ""], |command| {
        assert_eq!(ok(command), "a b ; &% ünï \n");
    });
    both(&sandbox, &["exec", "no-such-pod", "--", "true"], |command| {
        let ran = run(command);
        assert_eq!(
            (ran.code, ran.stderr.as_str()),
            (1, "Error from server (NotFound): pods \"no-such-pod\" not found\n")
        );
    });
}

#[test]
fn the_end_of_input_arrives() {
    let sandbox = Sandbox::new("stdin");
    both(&sandbox, &["exec", "-i", "p", "--", "sh", "-c", "cat; echo done"], |command| {
        assert_eq!(run_with(command, b"abc").stdout, "abcdone\n");
    });
    let input = vec![b'x'; 3_000_000];
    both(&sandbox, &["exec", "-i", "p", "--", "wc", "-c"], |command| {
        assert_eq!(run_with(command, &input).stdout.trim(), "3000000");
    });
}

#[test]
fn the_last_byte_is_not_lost() {
    let sandbox = Sandbox::new("last-byte");
    for _ in 0..10 {
        both(&sandbox, &["exec", "p", "--", "seq", "1", "200000"], |command| {
            assert!(ok(command).ends_with("199999\n200000\n"));
        });
    }
}

#[test]
fn cp_both_ways() {
    let sandbox = Sandbox::new("cp");
    let folder = tempfile::tempdir().unwrap();
    let (from, back) = (folder.path().join("from"), folder.path().join("back"));
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&from, &bytes).unwrap();
    let _sent = ok(&mut sandbox.kubectl(Way::Hawser, &["cp", from.to_str().unwrap(), "p:/tmp/file"]));
    let _taken = ok(&mut sandbox.kubectl(Way::Hawser, &["cp", "p:/tmp/file", back.to_str().unwrap()]));
    assert!(std::fs::read(&back).unwrap() == bytes, "what came back is what went");
}

#[test]
fn attach_sees_what_the_container_says() {
    let sandbox = Sandbox::new("attach");
    let pod = sandbox
        .pod("talker")
        .replace("echo started; exec sleep 100000", "while :; do echo tick; sleep 0.2; done");
    let _made = hawser_tests::ok_with(&mut sandbox.kubectl(Way::Direct, &["apply", "-f", "-"]), &pod);
    let _ready =
        ok(&mut sandbox
            .kubectl(Way::Direct, &["wait", "pod/talker", "--for=condition=Ready", "--timeout=60s"]));
    both(&sandbox, &["attach", "talker"], |command| {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let _read = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        let _gone = child.wait().unwrap();
        assert_eq!(line, "tick\n");
    });
}

/// Waits for what pod `p` logs: it is ready as soon as its shell runs.
fn has_logged(sandbox: &Sandbox) {
    until("pod p has logged", LOADED, || {
        ok(&mut sandbox.kubectl(Way::Direct, &["logs", "p"])) == "started\n"
    });
}

#[test]
fn logs_and_follow() {
    let sandbox = Sandbox::new("logs");
    has_logged(&sandbox);
    assert_eq!(ok(&mut sandbox.kubectl(Way::Hawser, &["logs", "p"])), "started\n");
    let mut child = sandbox
        .kubectl(Way::Hawser, &["logs", "-f", "p"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "started");
    child.kill().unwrap();
    let _gone = child.wait().unwrap();
}

/// The payloads of a server's WebSocket frames up to its close, and the protocol it chose.
fn websocket(way: Way, path: &str, protocol: &str) -> (Option<String>, Vec<Vec<u8>>) {
    let offered = format!("Sec-WebSocket-Protocol: {protocol}");
    // curl passes on what follows the 101 as it is.
    let mut args = vec!["--http1.1", "--include", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket"];
    args.extend(["-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]);
    args.extend(["-H", "Origin: https://example.com", "--max-time", "20"]);
    if !protocol.is_empty() {
        args.extend(["-H", &offered]);
    }
    let output = Curl::going(way).command(path, &args).output().unwrap().stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(output[..end].to_vec()).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    let chosen = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-protocol").then(|| value.trim().to_owned())
    });
    (chosen, frames(&output[end + 4..]))
}

fn frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    while let [kind, length, rest @ ..] = bytes {
        let (length, rest) = match (length, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (0..126, rest) => (usize::from(*length), rest),
            _ => panic!("no such frames are expected"),
        };
        match kind {
            0x81 | 0x82 => payloads.push(rest[..length].to_vec()),
            0x88 => return payloads,
            _ => panic!("frame {kind:x}"),
        }
        bytes = &rest[length..];
    }
    panic!("no close frame")
}

#[test]
fn logs_and_watches_over_websocket() {
    let sandbox = Sandbox::new("websocket");
    has_logged(&sandbox);
    until("there is something to watch", LOADED, || {
        run(&mut sandbox.kubectl(Way::Direct, &["get", "configmap", "kube-root-ca.crt"])).code == 0
    });
    let of = format!("/api/v1/namespaces/{}", sandbox.namespace);
    for (protocol, text) in
        [("", "started\n"), ("binary.k8s.io", "started\n"), ("base64.binary.k8s.io", "c3RhcnRlZAo=")]
    {
        let [direct, through] =
            [Way::Direct, Way::Hawser].map(|way| websocket(way, &format!("{of}/pods/p/log"), protocol));
        assert_eq!(direct, through, "{protocol}");
        assert_eq!(String::from_utf8(through.1.concat()).unwrap(), text, "{protocol}");
    }
    let watch = format!("{of}/configmaps?watch=true&timeoutSeconds=3");
    let [direct, through] = [Way::Direct, Way::Hawser].map(|way| websocket(way, &watch, ""));
    assert_eq!(direct, through);
    let event: serde_json::Value = serde_json::from_slice(&through.1[0]).unwrap();
    assert_eq!((&event["type"], &event["object"]["kind"]), (&"ADDED".into(), &"ConfigMap".into()));
}

#[test]
fn port_forward_carries_connections() {
    let sandbox = Sandbox::new("forward");
    let server = "mkdir -p /tmp/www; echo hello > /tmp/www/index.html; busybox httpd -f -p 8080 -h /tmp/www";
    let pod = sandbox.pod("web").replace("echo started; exec sleep 100000", server);
    let _made = hawser_tests::ok_with(&mut sandbox.kubectl(Way::Direct, &["apply", "-f", "-"]), &pod);
    let _ready =
        ok(&mut sandbox.kubectl(Way::Direct, &["wait", "pod/web", "--for=condition=Ready", "--timeout=60s"]));
    until("the pod's server listens", LOADED, || {
        let args = ["exec", "web", "--", "curl", "-sf", "http://127.0.0.1:8080/index.html"];
        run(&mut sandbox.kubectl(Way::Direct, &args)).code == 0
    });
    both(&sandbox, &["port-forward", "pod/web", ":8080"], |command| {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let _read = out.read_line(&mut line).unwrap();
        let port: u16 = line.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        for _ in 0..5 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").unwrap();
            let mut answer = String::new();
            let _bytes = stream.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("hello\n"), "{answer}");
        }
        child.kill().unwrap();
        let _gone = child.wait().unwrap();
    });
}

#[test]
fn many_at_once() {
    let sandbox = Sandbox::new("many");
    let children: Vec<_> = (0..40)
        .map(|n| {
            let word = format!("w{n}");
            let mut command = sandbox.kubectl(Way::Hawser, &["exec", "p", "--", "echo", &word]);
            (word, command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        })
        .collect();
    for (word, child) in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.trim(), word, "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What a pod needs to come to its point, on a busy machine.
const LOADED: Duration = Duration::from_secs(60);
