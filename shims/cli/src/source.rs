//! Where objects come from: a file, standard input, or a loop over a file, cut into objects.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};

/// How much is read at a time.
const READ_LEN: usize = 256 * 1024;

/// How input is cut into objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// So many bytes each; the last may be shorter.
    Size(usize),
    /// Lines, with their line feed.
    Lines,
    /// Each preceded by its length in four bytes, most significant first.
    LengthPrefix,
}

/// The largest object that lines and length prefixes can make.
const MAX_OBJECT_LEN: usize = 64 * 1024 * 1024;

/// Objects from a file or standard input.
pub(crate) struct Source {
    input: Input,
    cut: Cut,
    buffer: BytesMut,
    /// How far into the file the buffer begins. A file that is read in a loop goes on counting.
    position: u64,
    at_end: bool,
    repeat: bool,
}

enum Input {
    Stdin(tokio::io::Stdin),
    File(File, PathBuf),
}

impl Source {
    /// Opens a file, or standard input for `-`.
    pub(crate) async fn open(path: &Path, cut: Cut, repeat: bool) -> Result<Self, SourceError> {
        let input = if path == Path::new("-") {
            if repeat {
                return Err(SourceError::CannotRepeat);
            }
            Input::Stdin(tokio::io::stdin())
        } else {
            let open = async {
                let file = File::open(path).await?;
                if file.metadata().await?.is_dir() {
                    return Err(io::Error::from(io::ErrorKind::IsADirectory));
                }
                Ok(file)
            };
            let file = open.await.map_err(|error| SourceError::Open(path.into(), error))?;
            Input::File(file, path.into())
        };
        Ok(Self { input, cut, buffer: BytesMut::new(), position: 0, at_end: false, repeat })
    }

    /// Opens a file so far from its beginning as [`position`](Self::position) said.
    pub(crate) async fn open_at(
        path: &Path,
        cut: Cut,
        repeat: bool,
        position: u64,
    ) -> Result<Self, SourceError> {
        let mut source = Self::open(path, cut, repeat).await?;
        if let Input::File(file, path) = &mut source.input {
            let seek = async {
                let len = file.metadata().await?.len();
                let at = if repeat { position.checked_rem(len).unwrap_or(0) } else { position };
                file.seek(io::SeekFrom::Start(at)).await
            };
            seek.await.map_err(|error| SourceError::Read(path.clone(), error))?;
            source.position = position;
        }
        Ok(source)
    }

    /// How far into its file the next object begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// What is to be known to read the same objects again, if that is possible.
    pub(crate) fn file(&self) -> Option<(&Path, Cut, bool)> {
        match &self.input {
            Input::File(_, path) => Some((path, self.cut, self.repeat)),
            Input::Stdin(_) => None,
        }
    }

    /// The next object, or `None` when there are no more.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        loop {
            if let Some(object) = self.cut_object()? {
                return Ok(Some(object));
            }
            if self.at_end {
                return self.last_object();
            }
            self.fill().await?;
        }
    }

    /// Whether the object given last was the last one, as far as is known without waiting.
    pub(crate) async fn is_finished(&mut self) -> Result<bool, SourceError> {
        // A pipe may take its time to say that it has ended; nobody should wait for that.
        while self.buffer.is_empty() && !self.at_end && matches!(self.input, Input::File(..)) {
            self.fill().await?;
        }
        Ok(self.buffer.is_empty() && self.at_end)
    }

    fn cut_object(&mut self) -> Result<Option<Bytes>, SourceError> {
        let len = match self.cut {
            Cut::Size(size) => (self.buffer.len() >= size).then_some(size),
            Cut::Lines => {
                let end = self.buffer.iter().position(|byte| *byte == b'\n');
                if end.is_none() && self.buffer.len() > MAX_OBJECT_LEN {
                    return Err(SourceError::TooLong);
                }
                end.map(|end| end + 1)
            }
            Cut::LengthPrefix => match self.buffer.first_chunk::<4>() {
                None => None,
                Some(prefix) => {
                    let len = u32::from_be_bytes(*prefix) as usize;
                    if len > MAX_OBJECT_LEN {
                        return Err(SourceError::TooLong);
                    }
                    if self.buffer.len() < 4 + len {
                        None
                    } else {
                        self.buffer.advance(4);
                        self.position += 4;
                        Some(len)
                    }
                }
            },
        };
        Ok(len.map(|len| {
            self.position += len as u64;
            self.buffer.split_to(len).freeze()
        }))
    }

    /// What is left when the input ends.
    fn last_object(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        if self.cut == Cut::LengthPrefix {
            return Err(SourceError::CutOff);
        }
        self.position += self.buffer.len() as u64;
        Ok(Some(self.buffer.split().freeze()))
    }

    async fn fill(&mut self) -> Result<(), SourceError> {
        if self.read().await? > 0 {
            return Ok(());
        }
        match &mut self.input {
            Input::File(file, path) if self.repeat => {
                let error = |error| SourceError::Read(path.clone(), error);
                file.rewind().await.map_err(error)?;
                if self.read().await? == 0 {
                    self.at_end = true;
                }
            }
            _ => self.at_end = true,
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<usize, SourceError> {
        // Large objects are read into one buffer, so that they leave in one piece.
        let want = match self.cut {
            Cut::Size(size) => READ_LEN.max(size),
            Cut::Lines | Cut::LengthPrefix => READ_LEN,
        };
        if self.buffer.capacity() - self.buffer.len() < READ_LEN / 4 {
            self.buffer.reserve(want);
        }
        match &mut self.input {
            Input::Stdin(stdin) => read_into(stdin, &mut self.buffer)
                .await
                .map_err(|error| SourceError::Read("standard input".into(), error)),
            Input::File(file, path) => read_into(file, &mut self.buffer)
                .await
                .map_err(|error| SourceError::Read(path.clone(), error)),
        }
    }
}

async fn read_into(
    input: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<usize> {
    input.read_buf(buffer).await
}

/// Why there are no objects to be had.
#[derive(Debug)]
pub(crate) enum SourceError {
    Open(PathBuf, io::Error),
    Read(PathBuf, io::Error),
    CannotRepeat,
    TooLong,
    CutOff,
    Changed,
}

impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(path, error) => write!(f, "cannot open {}: {error}", path.display()),
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::CannotRepeat => {
                f.write_str("--loop needs a file: standard input cannot be read twice")
            }
            Self::TooLong => write!(f, "an object is longer than {MAX_OBJECT_LEN} bytes"),
            Self::CutOff => f.write_str("the input ends inside an object"),
            Self::Changed => f.write_str("the file is not what it was"),
        }
    }
}

impl std::error::Error for SourceError {}

#[cfg(test)]
mod tests {
    use super::*;

    async fn objects(content: &[u8], cut: Cut) -> Result<Vec<Bytes>, SourceError> {
        let path = std::env::temp_dir().join(format!("moqt-source-{}", std::process::id()));
        let path = path.with_extension(format!("{:x}", content.as_ptr() as usize));
        std::fs::write(&path, content).unwrap();
        let mut source = Source::open(&path, cut, false).await?;
        std::fs::remove_file(&path).unwrap();
        let mut objects = Vec::new();
        while let Some(object) = source.next().await? {
            objects.push(object);
        }
        Ok(objects)
    }

    #[tokio::test]
    async fn cuts_as_told() {
        assert_eq!(objects(b"abcdefg", Cut::Size(3)).await.unwrap(), ["abc", "def", "g"]);
        assert_eq!(objects(b"a\n\nbc", Cut::Lines).await.unwrap(), ["a\n", "\n", "bc"]);
        let prefixed = b"\0\0\0\x02hi\0\0\0\0\0\0\0\x01!";
        assert_eq!(objects(prefixed, Cut::LengthPrefix).await.unwrap(), ["hi", "", "!"]);
        assert!(matches!(
            objects(b"\0\0\0\x05hi", Cut::LengthPrefix).await,
            Err(SourceError::CutOff)
        ));
        assert!(objects(b"", Cut::Size(3)).await.unwrap().is_empty());
    }
}
