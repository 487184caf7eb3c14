//! Names of frames: `package/Class.method`, and without the numbers that each start of a JVM draws anew, which
//! would make new functions again and again.

use std::borrow::Cow;

/// The name of a frame.
pub(super) fn frame(class: &str, method: &str) -> String {
    let class = stable(class);
    let mut name = String::with_capacity(class.len() + 1 + method.len());
    name.push_str(&class);
    name.push('.');
    name.push_str(method);
    name
}

/// `class` with a `_` in place of generated numbers.
fn stable(class: &str) -> Cow<'_, str> {
    // Most classes are none of these.
    let suspicious = class.starts_with("lib")
        || class.ends_with(|c: char| c.is_ascii_digit())
        || class.ends_with(".so")
        || memchr::memchr(b'$', class.as_bytes())
            .is_some_and(|at| class.get(at..).unwrap_or_default().contains("$$"));
    if !suspicious {
        return class.into();
    }
    // Lambdas and what the JVM makes for them: everything behind is an address or a number.
    if let Some(at) = class.find("$$Lambda") {
        let (kept, rest) = class.split_at(at + "$$Lambda".len());
        if rest.starts_with(['$', '/', '+', '.']) {
            return format!("{kept}_").into();
        }
    }
    // Classes and libraries that end in a number: what stands in front, the number, what stands behind.
    for (front, is_number, behind) in [
        ("GeneratedMethodAccessor", char::is_ascii_digit as fn(&char) -> bool, ""),
        ("GeneratedConstructorAccessor", char::is_ascii_digit, ""),
        ("GeneratedSerializationConstructorAccessor", char::is_ascii_digit, ""),
        ("CGLIB$$", char::is_ascii_hexdigit, ""),
        ("libasyncProfiler-", is_part_of_version, ".so"),
        ("libzstd-jni-", is_part_of_version, ".so"),
        ("libamazonCorrettoCryptoProvider", char::is_ascii_hexdigit, ".so"),
    ] {
        let Some((before, rest)) = class.split_once(front) else { continue };
        let Some(number) = rest.strip_suffix(behind) else { continue };
        // A class within such a class keeps its name.
        let (number, inner) = match behind.is_empty() {
            true => number.split_at(number.find(|c| !is_number(&c)).unwrap_or(number.len())),
            false => (number, ""),
        };
        if !number.is_empty() && number.chars().all(|c| is_number(&c)) {
            return format!("{before}{front}_{inner}{behind}").into();
        }
    }
    class.into()
}

fn is_part_of_version(c: &char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_start_go() {
        for (class, method, expect) in [
            ("java/lang/String", "hashCode", "java/lang/String.hashCode"),
            ("", "checkcast_arraycopy_uninit", ".checkcast_arraycopy_uninit"),
            ("libc-2.31.so", "clock_gettime", "libc-2.31.so.clock_gettime"),
            ("kafka/Partition$$Lambda$1255.0x0000000800a8f440", "apply", "kafka/Partition$$Lambda_.apply"),
            ("Work$$Lambda$14/0x00007f1ab0000a00", "run", "Work$$Lambda_.run"),
            ("Work$$Lambda+0x00007f1ab0000a00.1234", "run", "Work$$Lambda_.run"),
            (
                "java/lang/invoke/LambdaForm$DMH.0x000000080013d400",
                "invokeStatic",
                "java/lang/invoke/LambdaForm$DMH.0x000000080013d400.invokeStatic",
            ),
            ("My$$Lambdas", "x", "My$$Lambdas.x"),
            (
                "jdk/internal/reflect/GeneratedMethodAccessor7",
                "invoke",
                "jdk/internal/reflect/GeneratedMethodAccessor_.invoke",
            ),
            ("a/B$$EnhancerBySpringCGLIB$$1a2b3c4d", "get", "a/B$$EnhancerBySpringCGLIB$$_.get"),
            ("a/B$$FastClassBySpringCGLIB$$1a2b$$X", "get", "a/B$$FastClassBySpringCGLIB$$_$$X.get"),
            (
                "libasyncProfiler-linux-x64-17b9a1d8156277a98ccc871afa9a8f69215f92.so",
                "f",
                "libasyncProfiler-_.so.f",
            ),
            ("libzstd-jni-1.5.1-16931311898282279136.so", "f", "libzstd-jni-_.so.f"),
            (
                "libamazonCorrettoCryptoProvider109b39cf33c563eb.so",
                "f",
                "libamazonCorrettoCryptoProvider_.so.f",
            ),
        ] {
            assert_eq!(frame(class, method), expect);
        }
    }
}
