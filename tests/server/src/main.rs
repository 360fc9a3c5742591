//! `keepfresh-server`: reads the flags, says READY, waits for the end.

use std::process::ExitCode;

use keepfresh_server::{Options, Running, USAGE, serve};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match run(args).await {
        // Not by returning from main: a blocked read of stdin would hold the runtime.
        Ok(()) => std::process::exit(0),
        Err(message) => {
            eprintln!("keepfresh-server: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Vec<String>) -> Result<(), String> {
    let options = Options::parse(args)?;
    let watch_stdin = options.watch_stdin;
    // Before READY: whoever reads that may stop the server at once.
    let terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let running = serve(options).await?;
    println!("READY {}", addresses(&running));
    stop_asked_for(terminate, watch_stdin)
        .await
        .map_err(|error| error.to_string())
}

fn addresses(running: &Running) -> serde_json::Value {
    let url = |address| format!("http://{address}");
    json!({ "api": url(running.api), "www": running.www.map(url) })
}

async fn stop_asked_for(mut terminate: Signal, watch_stdin: bool) -> std::io::Result<()> {
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        result = tokio::signal::ctrl_c() => result,
        () = stdin_closed(), if watch_stdin => Ok(()),
    }
}

async fn stdin_closed() {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 256];
    while matches!(stdin.read(&mut buffer).await, Ok(read) if read > 0) {}
}
