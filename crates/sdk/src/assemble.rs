//! Adds up equal stacks before they are symbolized.

use std::collections::HashMap;

/// What tells samples apart: addresses leaf first, and the group of threads.
type Key = (Box<[usize]>, Box<str>);

/// Stacks with their values. A stack that comes again is added to what is there.
#[derive(Default)]
pub(crate) struct Stacks {
    sums: HashMap<Key, Vec<i64>>,
}

impl Stacks {
    /// Adds `values` to the stack of `thread`.
    pub(crate) fn add(&mut self, addresses: &[usize], thread: &str, values: &[i64]) {
        let sums =
            self.sums.entry((addresses.into(), thread.into())).or_insert_with(|| vec![0; values.len()]);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = sum.saturating_add(*value);
        }
    }

    /// All stacks, sorted, so that the same samples make the same profile.
    pub(crate) fn into_sorted(self) -> Vec<(Key, Vec<i64>)> {
        let mut stacks: Vec<_> = self.sums.into_iter().collect();
        stacks.sort_unstable();
        stacks
    }
}

/// The name of a thread, as the kernel gives it, without the number that tells it from its siblings.
pub(crate) fn thread_group(name: &[u8]) -> &str {
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    let name = std::str::from_utf8(name.get(..end).unwrap_or_default()).unwrap_or_default();
    name.trim_end_matches(|letter: char| letter.is_ascii_digit() || "-_#:. ".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_a_pool_are_one_group() {
        for (name, group) in
            [("tokio-rt-worker\0", "tokio-rt-worker"), ("flush-12\0xx", "flush"), ("7\0", ""), ("\0", "")]
        {
            assert_eq!(thread_group(name.as_bytes()), group);
        }
    }
}
