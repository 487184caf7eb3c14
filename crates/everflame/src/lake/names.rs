//! Names of services and types as names of folders.

/// `text` as the name of one folder: what may not stand in one is percent-encoded.
pub(crate) fn encode(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let is_dots = text.bytes().all(|byte| byte == b'.');
    let mut name = String::with_capacity(text.len());
    for byte in text.bytes() {
        match is_plain(byte) && !is_dots {
            true => name.push(byte as char),
            false => name += &format!("%{byte:02X}"),
        }
    }
    name
}

/// What [`encode`] wrote. A percent sign that begins no code is itself.
pub(crate) fn decode(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let code = after.get(..2).filter(|code| byte == b'%' && code.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = after.get(2..).unwrap_or_default();
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_stay_in_their_folder() {
        for text in ["shop", "", ".", "..", "../../etc", "a b=c%2F/ñ\0", "process_cpu:cpu:nanoseconds::"] {
            let name = encode(text);
            assert!(!name.contains(['/', '\0', ' ']) && name != "." && name != "..", "{name}");
            assert_eq!(decode(&name), text);
        }
        assert_eq!(decode("100%"), "100%");
    }
}
