//! `--qlog`: what sessions say, in files.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use moqt_qlog::Qlog;
use moqt_quic::Trace;

use crate::failure::Failure;

/// The one folder that is written to, and what writes to it. A command may connect many times.
static OPEN: Mutex<Option<(PathBuf, Qlog)>> = Mutex::new(None);

/// What writes sessions down in this folder, if one was given.
pub(crate) fn trace(folder: Option<&Path>) -> Result<Option<Trace>, Failure> {
    let Some(folder) = folder else { return Ok(None) };
    Ok(Some(open(folder)?.trace()))
}

/// The same, for sessions with these addresses only; with all if there are none.
pub(crate) fn trace_of(folder: Option<&Path>, peers: &[IpAddr]) -> Result<Option<Trace>, Failure> {
    let Some(folder) = folder else { return Ok(None) };
    let (qlog, peers) = (open(folder)?, peers.to_vec());
    let wanted =
        move |peer: SocketAddr| peers.is_empty() || peers.contains(&peer.ip().to_canonical());
    Ok(Some(qlog.trace_of(wanted)))
}

fn open(folder: &Path) -> Result<Qlog, Failure> {
    let mut open = lock();
    if let Some((at, qlog)) = &*open
        && at == folder
    {
        return Ok(qlog.clone());
    }
    let qlog = Qlog::in_folder(folder).map_err(|error| {
        Failure::new(format!("cannot write qlogs to {}: {error}", folder.display()))
    })?;
    *open = Some((folder.to_owned(), qlog.clone()));
    Ok(qlog)
}

/// Waits until what has happened is written.
pub(crate) fn finish() {
    if let Some((_, qlog)) = &*lock() {
        qlog.finish();
    }
}

/// Nobody can panic while they hold it.
fn lock() -> MutexGuard<'static, Option<(PathBuf, Qlog)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}
