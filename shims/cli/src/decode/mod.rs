//! `moqt decode`: bytes, with every field of them named.

mod guess;
mod input;
mod qlog;
mod report;

use std::io::{self, BufWriter, Write};

use clap::{Args, ValueEnum};
use moqt_engine::Draft;
use moqt_engine::model::GroupOrder;
use moqt_engine::wire::{Annotator, Subject};

use self::input::Input;
use self::report::Report;
use crate::args::{OutputArgs, parse_draft};
use crate::failure::Failure;

/// What `moqt decode --help` ends with.
pub(crate) const EXAMPLES: &str = r#"Examples:
  moqt decode "14 05 02 07 80 00 05 'hello'"
  moqt decode --draft 16 --as control 21 0003 01 02 0a
  printf '\010\005\002\007hello' | moqt decode --json

Hexadecimal digits may be apart, and text in single quotes stands for itself. What is wrong is told
with the byte at which it is wrong, after everything before it, and the exit status is 1."#;

#[derive(Clone, Debug, Args)]
pub(crate) struct DecodeArgs {
    /// Bytes in hexadecimal, or a file, or - for standard input, which is also read if nothing is
    /// given. Files hold bytes, or text in hexadecimal, or a qlog that --qlog has written.
    #[arg(value_name = "HEX|FILE")]
    input: Vec<String>,
    /// What the bytes are; found out if they say it themselves.
    #[arg(long = "as", value_enum, value_name = "WHAT")]
    what: Option<What>,
    /// The draft they are in; the newest that reads them if not given.
    #[arg(long, value_name = "14|16|18", value_parser = parse_draft)]
    draft: Option<Draft>,
    /// The groups of the fetch that a data stream answers come in descending order.
    #[arg(long)]
    descending: bool,
}

/// What bytes can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// A control stream, or a stream of one request (draft 18).
    Control,
    /// A unidirectional stream with objects: of a subgroup, or of a fetch.
    Data,
    /// One datagram.
    Datagram,
}

impl What {
    const ALL: [Self; 3] = [Self::Control, Self::Data, Self::Datagram];

    fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Data => "data",
            Self::Datagram => "datagram",
        }
    }

    fn subject(self, order: GroupOrder) -> Subject {
        match self {
            Self::Control => Subject::Control,
            Self::Data => Subject::Data(order),
            Self::Datagram => Subject::Datagram,
        }
    }
}

pub(crate) fn run(args: &DecodeArgs, output: &OutputArgs) -> Result<(), Failure> {
    let out = BufWriter::new(io::stdout().lock());
    let bytes = match input::read(&args.input)? {
        Input::Bytes(bytes) => bytes,
        Input::Qlog(bytes) => return ended(qlog::tell(out, &bytes, output.json)),
    };
    let order = if args.descending { GroupOrder::Descending } else { GroupOrder::Ascending };
    let (what, draft) = guess::guess(&bytes, args.what, args.draft, order)?;
    let mut report = Report::new(out, &bytes, what, draft, output.json);
    ended(annotate(&mut report, &bytes, what, draft, order))
}

/// What the command ends with: what was wrong with the bytes, if anything was.
fn ended(told: io::Result<Option<String>>) -> Result<(), Failure> {
    match told {
        Ok(None) => Ok(()),
        Ok(Some(error)) => Err(Failure::new(error)),
        // Nobody is told that a pager was left.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reports everything up to what is wrong, and that.
fn annotate(
    report: &mut Report<'_, impl Write>,
    bytes: &[u8],
    what: What,
    draft: Draft,
    order: GroupOrder,
) -> io::Result<Option<String>> {
    report.begin()?;
    let mut wrong = None;
    for part in Annotator::new(draft.dialect(), what.subject(order), bytes) {
        report.part(&part)?;
        wrong = part.error.map(|error| format!("{}: {error}", part.name));
    }
    report.end()?;
    Ok(wrong)
}
