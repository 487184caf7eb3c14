//! How much a reader may take in. All input is hostile until it is read.

/// Bounds of every reader. What exceeds one is refused, except where a field says that it is shortened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after gunzip, and of a body that is not gzip: 64 MiB.
    pub inflated_bytes: usize,
    /// Bytes that one compressed byte may become: 200. Real profiles stay below 20; deflate ends at 1032.
    pub inflated_ratio: usize,
    /// Up to here the ratio does not matter, so that tiny repetitive profiles pass: 1 MiB.
    pub inflated_floor: usize,
    /// Sample types of a profile: 64.
    pub sample_types: usize,
    /// Samples of a profile, lines of a folded one: 1,000,000.
    pub samples: usize,
    /// Frames of all stacks, values and text labels, added up: 16 Mi, of four bytes each. A value and a label
    /// are as large as two frames and count two. It bounds memory where each entry costs one byte of input and
    /// several of memory.
    pub entries: usize,
    /// Entries of each table of the format (strings, functions, locations, frames): 512 Ki. The largest costs
    /// some 200 bytes an entry while it is read.
    pub table_entries: usize,
    /// Frames of a stack: 2,048, the deepest that Java's agent sends. Deeper stacks keep their root side.
    pub depth: usize,
    /// Text labels of a sample: 100. What an export says about many samples at once is shortened to as many.
    pub labels_per_sample: usize,
    /// Bytes of a string: 65,535. Longer ones keep their tail, which tells functions of one package apart.
    pub string_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inflated_bytes: 64 << 20,
            inflated_ratio: 200,
            inflated_floor: 1 << 20,
            sample_types: 64,
            samples: 1_000_000,
            entries: 16 << 20,
            table_entries: 512 << 10,
            depth: 2_048,
            labels_per_sample: 100,
            string_bytes: 65_535,
        }
    }
}

/// What a reader shortened; all zero when the profile is as it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Stacks that lost frames on their leaf side.
    pub stacks: u32,
    /// Strings that lost their head.
    pub strings: u32,
    /// Labels that were left out because there are too many.
    pub labels: u32,
}

impl Cuts {
    /// Counts those of another profile as well.
    pub(crate) fn add(&mut self, other: Self) {
        self.stacks = self.stacks.saturating_add(other.stacks);
        self.strings = self.strings.saturating_add(other.strings);
        self.labels = self.labels.saturating_add(other.labels);
    }
}

impl Limits {
    /// `text` without what exceeds the limit, cut at a character.
    pub(crate) fn cut_string<'a>(&self, text: &'a str, cuts: &mut Cuts) -> &'a str {
        if text.len() <= self.string_bytes {
            return text;
        }
        cuts.strings = cuts.strings.saturating_add(1);
        let start = text.ceil_char_boundary(text.len() - self.string_bytes);
        text.get(start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_strings_keep_their_tail() {
        let limits = Limits { string_bytes: 4, ..Limits::default() };
        let mut cuts = Cuts::default();
        let cut: Vec<_> =
            ["abcd", "abcde", "aβγδ"].iter().map(|text| limits.cut_string(text, &mut cuts)).collect();
        assert_eq!(cut, ["abcd", "bcde", "γδ"]);
        assert_eq!(cuts.strings, 2);
        let limits = Limits { string_bytes: 3, ..limits };
        assert_eq!(limits.cut_string("aβγ", &mut cuts), "γ");
    }
}
