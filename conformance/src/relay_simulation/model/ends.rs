//! The end: nothing is left, and no session ended for nothing.

use super::{Checked, Model, must};

impl Model<'_> {
    pub(super) fn sessions(&self) -> Checked {
        let record = self.record;
        must(!record.is_endless, "everything comes to an end", String::new)?;
        if let Some((at, what)) = record.failed.first() {
            return must(false, "no command fails that cannot", || format!("{what}, at {at:?}"));
        }
        if let Some((client, at, why)) = record.closed.first()
            && self.is_calm()
        {
            return must(false, "no session ends for nothing", || {
                format!("that of client {client} at {at:?}: {why}")
            });
        }
        Ok(())
    }

    pub(super) fn nothing_left(&self) -> Checked {
        match self.record.left.first() {
            Some(left) => must(false, "nothing is left at the end", || left.clone()),
            None => Ok(()),
        }
    }
}
