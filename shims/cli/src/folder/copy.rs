//! `moqt sub --out DIR` of a folder: a copy of it, going on where an earlier one ended.

use std::io::{ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use moqt_engine::model::{
    EndOfRange, FullTrackName, Location, LocationRange, Parameters, TrackNamespace,
};
use moqt_session::{FetchItem, Session};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufWriter};
use tokio::task::JoinSet;

use super::catalog::{Catalog, Entry, MAX_LEN};
use crate::args::{OutputArgs, SubscribeArgs};
use crate::failure::Failure;
use crate::progress::{Progress, hex, human_bytes};

/// Files that are fetched at a time.
const AT_ONCE: usize = 8;
/// What the name of a file ends with until all of it is there.
const PART: &str = ".part";

/// What was copied, for `--json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Files of the folder.
    files: usize,
    /// Those that were there before.
    had: usize,
    /// Those of which a part was.
    resumed: usize,
    /// Those of which there is no whole copy.
    failed: usize,
    /// Bytes that came of those that are whole now.
    bytes: u64,
    seconds: f64,
    end: &'static str,
}

/// The catalog that is the first object of a track, if it is one.
pub(crate) async fn catalog_of(
    session: &Session,
    track: &FullTrackName,
    parameters: Parameters,
) -> Result<Option<Catalog>, Failure> {
    let first = LocationRange::to_last(Location::ZERO, Location::ZERO);
    // A track that cannot be fetched may be one that is to be followed.
    let Ok(mut reader) = session.fetch(track.clone(), first, parameters).await else {
        return Ok(None);
    };
    let Ok(Some(FetchItem::Object(object))) = reader.next().await else { return Ok(None) };
    if object.payload_len > MAX_LEN as u64 {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    while let Some(piece) = reader.chunk(usize::MAX).await? {
        bytes.extend_from_slice(&piece);
    }
    Catalog::parse(&bytes)
        .map_err(|error| Failure::new(format!("the catalog of {track} cannot be used: {error}")))
}

/// Makes a copy of all files of a catalog in the folder that `--out` says.
pub(crate) async fn copy(
    mut session: Session,
    catalog: Catalog,
    (args, folder): (&SubscribeArgs, &Path),
    (output, progress): (&OutputArgs, Progress),
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut parameters = Parameters::default();
    parameters.subscriber_priority = args.wanted.priority;
    parameters.authorization_tokens = args.connect.tokens();
    let mut report = Report { files: catalog.files.len(), ..Report::default() };
    let progress = Arc::new(progress);
    progress.say(&format!("{} files, to {}", report.files, folder.display()));
    let copies = Arc::new(Copies {
        namespace: args.wanted.track.full_name()?.namespace().clone(),
        folder: folder.into(),
        catalog,
        parameters,
        progress: progress.clone(),
    });
    let mut left: Vec<usize> = (0..report.files).rev().collect();
    let copied = async {
        while let Err(why) = run(&copies, &session, &mut left, &mut report).await {
            let attempt = async || crate::net::connect(&args.connect).await;
            session = crate::again::go_on(args.reconnect, why, &progress, attempt).await?;
        }
        Ok::<(), Failure>(())
    };
    let copied = tokio::select! {
        copied = copied => copied.map(|()| "complete"),
        _ = tokio::signal::ctrl_c() => Ok("interrupted"),
    };
    crate::net::leave(&session).await;
    progress.finish();
    report.seconds = began.elapsed().as_secs_f64();
    report.end = *copied.as_ref().unwrap_or(&"lost");
    if output.json {
        eprintln!("{}", serde_json::to_string(&report).map_err(|e| Failure::new(e.to_string()))?);
    } else {
        let Report { files, had, resumed, bytes, seconds, end, .. } = &report;
        let bytes = human_bytes(*bytes);
        progress.say(&format!(
            "{files} files, {had} of them here before, {resumed} in part: {bytes} in \
             {seconds:.1} s ({end})"
        ));
    }
    copied?;
    match report.failed {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{failed} files could not be copied"))),
    }
}

/// Copies the files that are left, several at a time. The error is why the session was lost; what
/// is left is to be copied over another one.
async fn run(
    copies: &Arc<Copies>,
    session: &Session,
    left: &mut Vec<usize>,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    let mut waiting = left.clone();
    loop {
        while tasks.len() < AT_ONCE
            && let Some(number) = waiting.pop()
        {
            let (copies, session) = (copies.clone(), session.clone());
            tasks.spawn(async move { (number, copies.file(&session, number).await) });
        }
        let Some(done) = tasks.join_next().await else { return Ok(()) };
        let (number, copied) = done.map_err(|error| Failure::new(error.to_string()))?;
        match copied {
            Ok(Copied { had, bytes }) => {
                report.bytes = report.bytes.saturating_add(bytes);
                match had {
                    Had::Nothing => {}
                    Had::Part => report.resumed += 1,
                    Had::All => report.had += 1,
                }
            }
            Err(why) if session.close_reason().is_some() => {
                tasks.shutdown().await;
                return Err(why);
            }
            Err(why) => {
                report.failed += 1;
                copies.progress.say(&why.to_string());
            }
        }
        left.retain(|other| *other != number);
    }
}

/// What was there of a file, and how many bytes came.
struct Copied {
    had: Had,
    bytes: u64,
}

enum Had {
    Nothing,
    Part,
    All,
}

/// Where everything is, and where it goes.
struct Copies {
    namespace: TrackNamespace,
    folder: PathBuf,
    catalog: Catalog,
    parameters: Parameters,
    progress: Arc<Progress>,
}

impl Copies {
    /// Copies one file.
    async fn file(&self, session: &Session, number: usize) -> Result<Copied, Failure> {
        let Some(entry) = self.catalog.files.get(number) else {
            return Ok(Copied { had: Had::Nothing, bytes: 0 });
        };
        let path = self.folder.join(&entry.name);
        let at = |error| Failure::new(format!("cannot write {}: {error}", path.display()));
        if is_whole(&path, entry).await {
            return Ok(Copied { had: Had::All, bytes: 0 });
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).await.map_err(at)?;
        }
        let mut part = path.clone().into_os_string();
        part.push(PART);
        let mut part =
            Part::open(PathBuf::from(part), self.catalog.object_size, entry).await.map_err(at)?;
        let had = if part.written > 0 { Had::Part } else { Had::Nothing };
        let before = part.written;
        let fetched = self.fetch(session, entry, &mut part).await;
        // What came is there when it is gone on with.
        part.file.flush().await.map_err(at)?;
        fetched?;
        if hex(&part.hash.finalize()) != entry.sha256 {
            let _ = fs::remove_file(&part.path).await;
            let name = &entry.name;
            return Err(Failure::new(format!(
                "{name} is not what it should be, by its checksum: it may have changed since its \
                 publisher looked; try again"
            )));
        }
        fs::rename(&part.path, &path).await.map_err(at)?;
        Ok(Copied { had, bytes: part.written.saturating_sub(before) })
    }

    /// Fetches what is missing of a file.
    async fn fetch(
        &self,
        session: &Session,
        entry: &Entry,
        part: &mut Part,
    ) -> Result<(), Failure> {
        let name = &entry.name;
        let mut number = part.written / self.catalog.object_size.max(1);
        let Some(range) = self.catalog.range(entry, number) else { return Ok(()) };
        let track = entry.track(&self.namespace)?;
        let mut reader = session
            .fetch(track, range, self.parameters.clone())
            .await
            .map_err(|error| Failure::new(format!("cannot fetch {name}: {error}")))?;
        let broken = |error| Failure::new(format!("{name}: {error}"));
        while let Some(item) = reader.next().await.map_err(broken)? {
            let FetchItem::Object(object) = item else {
                if let FetchItem::EndOfRange { kind: EndOfRange::Unknown, .. } = item {
                    return Err(Failure::new(format!("a part of {name} is not to be had")));
                }
                continue;
            };
            let left = entry.size.saturating_sub(part.written);
            let is_next = object.location == self.catalog.location(number);
            if !is_next || object.payload_len != left.min(self.catalog.object_size) {
                return Err(Failure::new(format!("{name} does not come as its catalog says")));
            }
            number += 1;
            while let Some(piece) = reader.chunk(usize::MAX).await.map_err(broken)? {
                let written = part.write(&piece).await;
                written.map_err(|error| {
                    Failure::new(format!("cannot write {}: {error}", part.path.display()))
                })?;
            }
            self.progress.count(usize::try_from(object.payload_len).unwrap_or_default());
        }
        match entry.size.checked_sub(part.written) {
            Some(0) => Ok(()),
            _ => Err(Failure::new(format!("the end of {name} did not come"))),
        }
    }
}

/// What there is of a file.
struct Part {
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    written: u64,
}

impl Part {
    /// Goes on with what is there, from the end of its last whole object.
    async fn open(path: PathBuf, object_size: u64, entry: &Entry) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).await?;
        let len = file.metadata().await?.len().min(entry.size);
        let whole = if len == entry.size { len } else { len - len % object_size.max(1) };
        let mut hash = Sha256::new();
        let (mut buffer, mut written) = (vec![0; 256 * 1024], 0_u64);
        while written < whole {
            let want = usize::try_from(whole - written).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read(buffer.get_mut(..want).unwrap_or_default()).await?;
            let Some(read) = buffer.get(..read).filter(|read| !read.is_empty()) else {
                return Err(ErrorKind::UnexpectedEof.into());
            };
            hash.update(read);
            written += read.len() as u64;
        }
        file.set_len(written).await?;
        file.seek(SeekFrom::Start(written)).await?;
        let file = BufWriter::with_capacity(256 * 1024, file);
        Ok(Self { path, file, hash, written })
    }

    async fn write(&mut self, piece: &[u8]) -> std::io::Result<()> {
        self.hash.update(piece);
        self.written = self.written.saturating_add(piece.len() as u64);
        self.file.write_all(piece).await
    }
}

/// Whether the file is there as it should be.
async fn is_whole(path: &Path, entry: &Entry) -> bool {
    let is_so_long = |len: u64| len == entry.size;
    if !fs::metadata(path).await.is_ok_and(|found| found.is_file() && is_so_long(found.len())) {
        return false;
    }
    let (path, expected) = (path.to_owned(), entry.sha256.clone());
    let compared = tokio::task::spawn_blocking(move || super::catalog::checksum(&path));
    compared.await.is_ok_and(|sum| sum.is_ok_and(|(_, sum)| sum == expected))
}
