use moqt_engine::model::{FullTrackName, NameError, TrackNamespace};

/// Names in their text form (draft-18, "Representing Namespace and Track Names"). Text that is
/// a name is that name's only text; and the bytes, taken as the fields of a name, come back from
/// the text they are printed as.
pub fn track_name_text(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        if let Ok(name) = text.parse::<FullTrackName>() {
            assert_eq!(name.to_string(), text);
        }
        if let Ok(namespace) = text.parse::<TrackNamespace>() {
            assert_eq!(namespace.to_string(), text);
        }
    }
    let mut parts: Vec<&[u8]> = data.split(|byte| *byte == 0).collect();
    let name = parts.pop().unwrap_or_default().to_vec();
    match TrackNamespace::new(&parts) {
        Ok(namespace) => {
            assert_eq!(namespace.to_string().parse(), Ok(namespace.clone()));
            if let Ok(name) = FullTrackName::new(namespace, name) {
                assert_eq!(name.to_string().parse(), Ok(name));
            }
        }
        Err(error) => {
            let why = match error {
                NameError::TooManyFields => parts.len() > 32,
                NameError::TooLong => parts.concat().len() > 4096,
                NameError::EmptyField => parts.iter().any(|part| part.is_empty()),
                _ => false,
            };
            assert!(why, "{error}: {parts:?}");
        }
    }
}
