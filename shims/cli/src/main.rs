//! `moqt`: everything one does with Media over QUIC Transport from a shell.

mod again;
mod args;
mod bench;
mod chat;
mod clock;
mod decode;
mod demo;
mod desk;
mod failure;
mod fetch;
mod folder;
mod gate;
mod history;
mod interop;
mod join;
mod man;
mod net;
mod origin;
mod probe;
mod progress;
mod publish;
mod qlog;
mod receive;
mod relay;
mod serve;
mod signals;
mod sink;
mod source;
mod stack;
mod subscribe;
mod utc;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use moqt_engine::Draft;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command, OutputArgs};
use crate::failure::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("moqt: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(&cli));
    qlog::finish();
    // A read of standard input that nobody waits for must not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("moqt: {failure}");
            failure.status()
        }
    }
}

async fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Demo(args) => demo::run(args, &cli.output).await,
        Command::Serve(args) => serve::run(args, &cli.output).await,
        Command::Publish(args) => publish::run(args, &cli.output).await,
        Command::Subscribe(args) => subscribe::run(args, &cli.output).await,
        Command::Receive(args) => receive::run(args, &cli.output).await,
        Command::Fetch(args) => fetch::run(args, &cli.output).await,
        Command::Join(args) => join::run(args, &cli.output).await,
        Command::Relay(args) => relay::run(args, &cli.output).await,
        Command::Interop(args) => interop::run(args, &cli.output).await,
        Command::Bench(args) => bench::run(args, &cli.output).await,
        Command::Probe(args) => probe::run(args, &cli.output).await,
        Command::Clock(args) => clock::run(args, &cli.output).await,
        Command::Chat(args) => chat::run(args, &cli.output).await,
        Command::Decode(args) => decode::run(args, &cli.output),
        Command::Completions(args) => man::completions(args),
        Command::Man(args) => man::man(args),
        Command::Version => {
            version(&cli.output);
            Ok(())
        }
    }
}

fn version(output: &OutputArgs) {
    let drafts: Vec<u8> = Draft::ALL.into_iter().map(Draft::number).collect();
    let version = env!("CARGO_PKG_VERSION");
    let (transports, stacks) = (["raw QUIC", "WebTransport"], ["quinn-proto", "s2n-quic"]);
    if output.json {
        println!(
            "{}",
            serde_json::json!({
                "moqt": version,
                "drafts": drafts,
                "transports": transports,
                "stacks": stacks,
                "os": std::env::consts::OS,
                "arch": std::env::consts::ARCH,
            })
        );
        return;
    }
    println!("moqt {version}");
    println!("drafts: {}", drafts.iter().map(u8::to_string).collect::<Vec<_>>().join(", "));
    println!("transports: {}", transports.join(", "));
    println!("QUIC stacks: {}", stacks.join(", "));
    println!("platform: {}-{}", std::env::consts::ARCH, std::env::consts::OS);
}

fn log_to_stderr(cli: &Cli) {
    let relay = match &cli.command {
        Command::Relay(args) => Some(args),
        _ => None,
    };
    let default = match cli.output.verbose {
        0 if relay.is_some() && !cli.output.quiet => "warn",
        0 => "error",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let mut filter = EnvFilter::builder()
        .with_default_directive(default.parse().unwrap_or_default())
        .from_env_lossy();
    // What the relay itself does is worth a line, what its clients do is not.
    for target in [relay::LOG, "moqt_relay_server"] {
        if !cli.output.quiet
            && let Ok(directive) = format!("{target}=info").parse()
        {
            filter = filter.add_directive(directive);
        }
    }
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if relay.is_some_and(|args| args.log_format == relay::LogFormat::Json) {
        log.json().flatten_event(true).init();
    } else {
        log.init();
    }
}
