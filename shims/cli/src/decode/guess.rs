//! What bytes are, if nobody says.

use moqt_engine::Draft;
use moqt_engine::model::GroupOrder;
use moqt_engine::wire::{Annotator, FieldValue};

use super::What;
use crate::failure::Failure;

/// How well bytes can be read as something.
#[derive(Clone, Copy, Debug)]
struct Fit {
    what: What,
    draft: Draft,
    /// Nothing is wrong with them.
    is_clean: bool,
    /// How many messages, headers and objects were read before something was wrong.
    parts: usize,
    /// What the first of them is.
    first: &'static str,
    /// There is a version in it, and it is that of the draft.
    says_draft: bool,
}

/// What the bytes are and in which draft, as far as it was not said.
///
/// They say what they are if they can be read to their end as one thing only; or, if there is no
/// such thing, if they begin like one thing only.
pub(super) fn guess(
    bytes: &[u8],
    what: Option<What>,
    draft: Option<Draft>,
    order: GroupOrder,
) -> Result<(What, Draft), Failure> {
    if let Some((what, draft)) = what.zip(draft) {
        return Ok((what, draft));
    }
    let all = Draft::ALL.into_iter().filter(|one| draft.is_none_or(|draft| draft == *one));
    let kinds = What::ALL.into_iter().filter(|one| what.is_none_or(|what| what == *one));
    let kinds: Vec<What> = kinds.collect();
    let mut fits: Vec<Fit> = all
        .flat_map(|draft| kinds.iter().map(move |what| fit(bytes, *what, draft, order)))
        .collect();
    if fits.iter().any(|fit| fit.is_clean) {
        fits.retain(|fit| fit.is_clean);
        // Any bytes can be a datagram's payload. What has to be so long as it is tells more.
        if fits.iter().any(|fit| fit.what != What::Datagram) && what.is_none() {
            fits.retain(|fit| fit.what != What::Datagram);
        }
    } else if what.is_none() {
        fits.retain(|fit| fit.parts > 0);
    }
    // A control stream of its own is one whatever it was taken for.
    if let Some(control) = fits.iter().find(|fit| fit.what == What::Control).copied() {
        fits.retain(|fit| fit.what != What::Data || fit.first != control.first);
    }
    let mut found: Vec<What> = fits.iter().map(|fit| fit.what).collect();
    found.sort_by_key(|what| what.name());
    found.dedup();
    match (&found[..], fits.iter().max_by(|a, b| rank(a).cmp(&rank(b)))) {
        ([_], Some(best)) => Ok((best.what, best.draft)),
        ([], _) | (_, None) => Err(Failure::new(
            "these bytes begin like nothing known: say what they are with --as control, data or datagram",
        )),
        (several, _) => {
            let names: Vec<&str> = several.iter().map(|what| what.name()).collect();
            let names = names.join(" or ");
            Err(Failure::new(format!("these bytes can be {names}: say which with --as")))
        }
    }
}

/// What says its draft, then what reads furthest, then the newest draft.
fn rank(fit: &Fit) -> (bool, usize, Draft) {
    (fit.says_draft, fit.parts, fit.draft)
}

fn fit(bytes: &[u8], what: What, draft: Draft, order: GroupOrder) -> Fit {
    let is_clean = !bytes.is_empty();
    let mut fit = Fit { what, draft, is_clean, parts: 0, first: "", says_draft: false };
    let version = draft.setup_version().map(FieldValue::Int);
    for part in Annotator::new(draft.dialect(), what.subject(order), bytes) {
        if fit.first.is_empty() {
            fit.first = part.name;
            let mut fields = part.fields.iter();
            fit.says_draft =
                fields.any(|field| field.name == "Version" && Some(field.value) == version);
        }
        match part.error {
            None => fit.parts += 1,
            Some(_) => fit.is_clean = false,
        }
    }
    fit
}
