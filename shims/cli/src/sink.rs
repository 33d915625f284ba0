//! Where objects that were received go: standard output or a file.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Poll;

use moqt_engine::model::{FullTrackName, Location};
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

use crate::args::SinkArgs;
use crate::failure::Failure;

/// Where objects go.
pub(crate) enum Sink {
    Bytes(BufWriter<Box<dyn AsyncWrite + Unpin + Send>>, PathBuf),
    Meta(BufWriter<tokio::io::Stdout>),
}

impl Sink {
    /// Opens standard output, or a file of the track's name.
    pub(crate) async fn open(args: &SinkArgs, track: &FullTrackName) -> Result<Self, Failure> {
        if args.meta {
            return Ok(Self::Meta(BufWriter::new(tokio::io::stdout())));
        }
        let Some(folder) = &args.out else {
            let stdout: Box<dyn AsyncWrite + Unpin + Send> = Box::new(tokio::io::stdout());
            return Ok(Self::Bytes(
                BufWriter::with_capacity(256 * 1024, stdout),
                "standard output".into(),
            ));
        };
        let path = file_name(folder, track);
        let create = async {
            tokio::fs::create_dir_all(folder).await?;
            File::create(&path).await
        };
        let file = create
            .await
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
        Ok(Self::Bytes(BufWriter::with_capacity(256 * 1024, Box::new(file)), path))
    }

    /// An object begins.
    pub(crate) async fn object(
        &mut self,
        location: Location,
        payload_len: u64,
    ) -> Result<(), Failure> {
        if let Self::Meta(out) = self {
            let Location { group, object } = location;
            let line =
                format!("{{\"group\":{group},\"object\":{object},\"size\":{payload_len}}}\n");
            out.write_all(line.as_bytes()).await?;
        }
        Ok(())
    }

    /// Payload of the object that began last.
    pub(crate) async fn payload(&mut self, payload: &[u8]) -> Result<(), Failure> {
        if let Self::Bytes(out, path) = self {
            let cannot = |error| Failure::new(format!("cannot write {}: {error}", path.display()));
            out.write_all(payload).await.map_err(cannot)?;
        }
        Ok(())
    }

    /// Waits for `next`; if that takes time, what there is is written before.
    pub(crate) async fn flushed_before<T>(
        &mut self,
        next: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let mut next = pin!(next);
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
            return Ok(output);
        }
        self.flush().await?;
        Ok(next.await)
    }

    /// Sees to it that everything is written.
    pub(crate) async fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Bytes(out, path) => out
                .flush()
                .await
                .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display()))),
            Self::Meta(out) => Ok(out.flush().await?),
        }
    }
}

/// The track's name, in the form that is safe in file names.
fn file_name(folder: &Path, track: &FullTrackName) -> PathBuf {
    let text = track.to_string();
    let name = text.split_once("--").map_or(text.as_str(), |(_, name)| name);
    folder.join(if name.is_empty() { "track" } else { name })
}
