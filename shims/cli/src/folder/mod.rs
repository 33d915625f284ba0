//! Folders: each file a track of its name, and a catalog that tells of all of them.
//!
//! [`offer`] answers for the files of a folder, and [`copy()`] makes a copy of it, by FETCH alone. So
//! what was copied in part is gone on with where it ended, and each file is compared with its
//! checksum before it gets its name.

mod catalog;
mod copy;
mod offer;

pub(crate) use copy::{catalog_of, copy};
pub(crate) use offer::{publish, serve};
