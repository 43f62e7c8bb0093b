//! What a zip's member asks of memory to be unpacked. LZMA and `PPMd` name it in the member's first bytes, up to gigabytes, whatever
//! the member's size; the crate takes them at their word. The dictionary of xz data, in a zip or not.

use zip::CompressionMethod;

/// So many first bytes of a member tell it: an xz stream's header and its first block's.
pub(super) const HEAD_BYTES: u64 = 12 + 1024;

/// Whether members of this method name their memory.
pub(super) fn is_named_by(method: CompressionMethod) -> bool {
    matches!(method, CompressionMethod::Lzma | CompressionMethod::Ppmd)
}

/// Bytes that unpacking asks for, as far as the member's first bytes tell.
pub(super) fn asked(method: CompressionMethod, head: &[u8]) -> u64 {
    let told = match method {
        // APPNOTE 5.8.8: version (2), size of the properties (2), properties: one byte, then the dictionary's size.
        CompressionMethod::Lzma => {
            head.get(5..).and_then(<[u8]>::first_chunk).map(|size| u64::from(u32::from_le_bytes(*size)))
        }
        // APPNOTE 5.10: order in 4 bits, megabytes less one in 8, restoration method in 4.
        CompressionMethod::Ppmd => {
            head.first_chunk().map(|word| (u64::from(u16::from_le_bytes(*word) >> 4 & 0xff) + 1) << 20)
        }
        _ => None,
    };
    told.unwrap_or(0)
}

/// The dictionary of the first block's LZMA2 filter (the .xz file format, 3.1 and 5.3.1).
pub(super) fn xz_dictionary(head: &[u8]) -> Option<u64> {
    let block = head.get(12..)?;
    let flags = *block.get(1)?;
    let mut rest = block.get(2..)?;
    // The compressed and the uncompressed size, each where a flag says so.
    for flag in [0x40, 0x80] {
        if flags & flag != 0 {
            number(&mut rest)?;
        }
    }
    for _ in 0..=flags & 3 {
        let (filter, length) = (number(&mut rest)?, number(&mut rest)?);
        let (properties, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        if let (0x21, [bits]) = (filter, properties) {
            let bits = u32::from(*bits).min(40);
            return Some((2 | u64::from(bits & 1)) << (bits / 2 + 11));
        }
        rest = after;
    }
    None
}

/// Seven bits a byte, the lowest first; the last byte has its highest bit clear.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
