//! Bytes as hexadecimal digits.

/// The bytes that these digits stand for, two for each.
pub(crate) fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_are_a_byte_and_nothing_else_is_one() {
        assert_eq!(hex_bytes("00fFa5"), Some(vec![0, 255, 0xa5]));
        assert_eq!(hex_bytes(""), Some(Vec::new()));
        for text in ["0", "0g", "00f", "0x", "ä"] {
            assert_eq!(hex_bytes(text), None, "{text}");
        }
    }
}
