//! Patterns of keys: `*` stands for any text and `?` for any one byte. All else
//! stands for itself, also where Redis would read it otherwise, so that memory
//! and Redis remove the same keys.

/// The pattern as Redis understands it, behind a prefix that stands for itself.
pub(crate) fn for_redis(prefix: &str, pattern: &str) -> String {
    let mut text = String::with_capacity(prefix.len() + pattern.len());
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            text.push('\\');
        }
        text.push(character);
    }
    for character in pattern.chars() {
        if matches!(character, '[' | ']' | '\\' | '^') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// Whether the key matches.
pub(crate) fn matches(pattern: &str, key: &str) -> bool {
    let (pattern, key) = (pattern.as_bytes(), key.as_bytes());
    let (mut at, mut from) = (0, 0);
    // Where to go on when a `*` should have taken one byte more.
    let mut retry = None;
    while from < key.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                retry = Some((at, from));
            }
            Some(&byte) if byte == b'?' || byte == key[from] => {
                at += 1;
                from += 1;
            }
            _ => match retry {
                Some((star, taken)) => {
                    at = star;
                    from = taken + 1;
                    retry = Some((star, from));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stars and question marks match as in Redis, all else only itself.
    #[test]
    fn keys_match() {
        for (pattern, key, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("[a]", "a", false),
            ("[a]", "[a]", true),
            ("ab", "abc", false),
        ] {
            assert_eq!(matches(pattern, key), expected, "{pattern} {key}");
        }
        assert_eq!(for_redis("p*:", "a*[x]"), r"p\*:a*\[x\]");
    }
}
