//! The program itself: flags, the READY line, the end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

fn start(args: &[&str]) -> (Child, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_keepfresh-server"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let ready = serde_json::from_str(line.strip_prefix("READY ").unwrap()).unwrap();
    (child, ready)
}

#[test]
fn it_says_where_it_listens_and_stops_with_stdin() {
    let (mut child, ready) = start(&["--watch-stdin", "--www", "."]);
    let urls = [
        ready["api"].as_str().unwrap(),
        ready["www"].as_str().unwrap(),
    ];
    assert_ne!(urls[0], urls[1]);
    for url in urls {
        let address = url.strip_prefix("http://").unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        std::net::TcpStream::connect(address).unwrap();
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn it_stops_on_sigterm() {
    let (mut child, ready) = start(&[]);
    assert!(ready["www"].is_null());
    let kill = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(kill.success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_unknown_flag_is_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_keepfresh-server"))
        .args(["--prot", "1"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(!child.wait().unwrap().success());
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(text.contains("--prot"), "{text}");
}
