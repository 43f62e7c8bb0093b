//! A batch that the brokers do not take at once is written down first, and then carried out: who finds it carries it out again.

use std::collections::BTreeMap;

use bytes::{Buf as _, Bytes};

use crate::store::backend::Value;
use crate::store::keys::Key;

/// Changes of rows; none: the row goes.
pub(super) type Changed = BTreeMap<Key, Option<Value>>;

/// Bytes of a piece, at most: brokers take a megabyte by default.
const PIECE_BYTES: usize = 512 << 10;

/// What is changed, in pieces.
pub(super) fn pieces_of(changed: &Changed) -> Vec<Bytes> {
    let mut text = Vec::new();
    let mut put = |bytes: &[u8]| {
        text.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        text.extend_from_slice(bytes);
    };
    for (key, value) in changed {
        put(key);
        put(&[u8::from(value.is_some())]);
        put(value.as_deref().unwrap_or_default());
    }
    let text = Bytes::from(text);
    (0..text.len())
        .step_by(PIECE_BYTES)
        .map(|from| text.slice(from..text.len().min(from + PIECE_BYTES)))
        .collect()
}

/// What pieces, in their order, say; none: they are no such thing.
pub(super) fn changed_by(pieces: &[Bytes]) -> Option<Changed> {
    let mut text = Bytes::from(pieces.concat());
    let mut changed = Changed::new();
    while text.has_remaining() {
        let [key, is_there, value] = [taken(&mut text)?, taken(&mut text)?, taken(&mut text)?];
        let value = match *is_there {
            [0] => None,
            [1] => Some(value),
            _ => return None,
        };
        changed.insert(key.to_vec(), value);
    }
    Some(changed)
}

fn taken(text: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(text.try_get_u64().ok()?).ok()?;
    (length <= text.remaining()).then(|| text.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_in_pieces_is_what_is_read() {
        let mut changed = Changed::from([(vec![], None), (vec![0], Some(Value::new()))]);
        changed.extend((0..40u8).map(|number| (vec![number, 1], Some(Value::from(vec![number; 64 << 10])))));
        let pieces = pieces_of(&changed);
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
        assert_eq!(changed_by(&pieces), Some(changed));
        assert_eq!(changed_by(&pieces[..1]), None);
        assert_eq!(changed_by(&pieces[1..]), None);
        assert_eq!(changed_by(&[]), Some(Changed::new()));
    }
}
