//! Pyroscope's binary trie: preorder, each node as name length, name, value and number of children, all
//! numbers unsigned LEB128. The names along a path spell a folded stack (`a;b;c`), cut at any byte; a node
//! with a value ends one. No head, no trailer; no bytes, no data.

use crate::assembly::Assembly;
use crate::leb::Reader;
use crate::{Decoded, Error, ErrorKind, Limits};
use everflame_profile::{Profile, ValueType};

/// Nodes are not kept: there may be more of them than names.
const NODES_OF_ENTRIES: usize = 4;
/// Deepest chain of nodes: a name may be cut into single bytes.
const MAX_DEPTH: usize = 1 << 20;
/// So many bytes of a name that is looked for take as long as a frame of a stack.
const BYTES_PER_ENTRY: usize = 4;

/// Reads a trie, gzip or plain, into a profile of `samples` in `count`; the caller knows what they really
/// measure.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Decoded, Error> {
    let body = crate::gzip::inflate_if_gzip(bytes, limits)?;
    let mut profile =
        Profile { sample_types: vec![ValueType::new("samples", "count")], ..Profile::default() };
    let mut reader = Reader::new("trie", &body);
    let mut assembly = Assembly::new(limits);
    let mut spelled = Spelled::default();
    // How the spelled stack looked before each open node, and how many children that node has still to come.
    let mut open: Vec<(Mark, u64)> = Vec::new();
    let mut nodes = 0usize;
    let mut stack = Vec::new();
    while !(nodes == 0 && body.is_empty()) {
        let before = spelled.mark();
        spelled.spell(reader.bytes(limits)?, &mut assembly);
        let (value, children) = (reader.number()? as i64, reader.children()?);
        nodes += 1;
        assembly.charge(format_args!("trie: node {nodes}"), std::mem::take(&mut spelled.unpaid))?;
        if nodes > NODES_OF_ENTRIES * limits.table_entries
            || open.len() > MAX_DEPTH
            || spelled.is_too_long(limits)
        {
            let fault = format!(
                "it has more than {} nodes, or spells a name of more than {} bytes",
                NODES_OF_ENTRIES * limits.table_entries,
                limits.string_bytes
            );
            return Err(reader.error(ErrorKind::TooLarge, &fault));
        }
        if value != 0 {
            stack.clear();
            stack.push(spelled.name(&mut assembly));
            stack.extend(spelled.frames.iter().rev());
            let place = format_args!("trie: node {nodes}");
            assembly.push(place, &stack, &[value], &[])?;
            assembly.charge(place, spelled.last.len() / BYTES_PER_ENTRY + spelled.kept.len() / 4)?;
        }
        open.push((before, children));
        while let Some((before, children)) = open.last_mut() {
            if *children > 0 {
                *children -= 1;
                break;
            }
            spelled.back_to(*before);
            open.pop();
        }
        if open.is_empty() {
            break;
        }
    }
    if !reader.is_at_end() {
        return Err(reader.error(ErrorKind::Malformed, "other bytes follow the trie"));
    }
    let cuts = assembly.finish(&mut profile);
    Ok(Decoded { profile, cuts })
}

/// The stack as far as it is spelled: whole frames, and the beginning of the next one.
#[derive(Default)]
struct Spelled {
    frames: Vec<u32>,
    last: Vec<u8>,
    /// Beginnings that became whole frames, one after the other, so that going back can restore them.
    kept: Vec<u8>,
    /// Names that there were so far.
    names: u32,
    /// Bytes of those that are not paid for yet: each node may spell a new one that is a little longer.
    unpaid: usize,
}

/// A state of [`Spelled`] to go back to.
#[derive(Clone, Copy)]
struct Mark {
    frames: usize,
    last: usize,
    kept: usize,
}

impl Spelled {
    fn mark(&self) -> Mark {
        Mark { frames: self.frames.len(), last: self.last.len(), kept: self.kept.len() }
    }

    fn spell(&mut self, name: &[u8], assembly: &mut Assembly<'_>) {
        let mut pieces = name.split(|&byte| byte == b';');
        // What was begun before this node has to come back when it is left.
        if name.contains(&b';') {
            self.kept.extend_from_slice(&self.last);
        }
        self.last.extend_from_slice(pieces.next().unwrap_or_default());
        for piece in pieces {
            let frame = self.name(assembly);
            self.frames.push(frame);
            self.last.clear();
            self.last.extend_from_slice(piece);
        }
    }

    /// The frame that is spelled.
    fn name(&mut self, assembly: &mut Assembly<'_>) -> u32 {
        let name = String::from_utf8_lossy(&self.last);
        let frame = assembly.named(&name);
        if frame >= self.names {
            self.names = frame + 1;
            self.unpaid += name.len();
        }
        frame
    }

    fn back_to(&mut self, mark: Mark) {
        if self.kept.len() > mark.kept || self.frames.len() > mark.frames {
            self.last.clear();
            self.last.extend_from_slice(self.kept.get(mark.kept..).unwrap_or_default());
        } else {
            self.last.truncate(mark.last);
        }
        self.kept.truncate(mark.kept);
        self.frames.truncate(mark.frames);
    }

    fn is_too_long(&self, limits: &Limits) -> bool {
        self.last.len() > limits.string_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded;
    use proptest::prelude::*;

    /// A trie as the peer writes it, from `(name, value, children)`.
    struct Node(&'static str, u64, Vec<Node>);

    fn bytes(node: &Node) -> Vec<u8> {
        let mut out = Vec::new();
        put(node, &mut out);
        out
    }

    fn put(node: &Node, out: &mut Vec<u8>) {
        let Node(name, value, children) = node;
        number(out, name.len() as u64);
        out.extend_from_slice(name.as_bytes());
        number(out, *value);
        number(out, children.len() as u64);
        children.iter().for_each(|child| put(child, out));
    }

    fn number(out: &mut Vec<u8>, mut number: u64) {
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    }

    #[track_caller]
    fn check(node: &Node, expect: &str) {
        let decoded = read(&bytes(node), &Limits::default()).unwrap();
        assert_eq!(folded::write(&decoded.profile, 0), expect);
    }

    #[test]
    fn names_are_spelled_along_the_path() {
        let ends = vec![Node("r", 2, vec![]), Node("z;qu", 1, vec![Node("x", 300, vec![])])];
        let root = Node("", 0, vec![Node("foo;ba", 0, ends), Node("main", 7, vec![Node(";a", 1, vec![])])]);
        check(&root, "foo;bar 2\nfoo;baz;qu 1\nfoo;baz;qux 300\nmain 7\nmain;a 1\n");
    }

    #[test]
    fn going_back_restores_what_was_begun() {
        let below = vec![Node("b;c;d", 1, vec![Node(";e", 1, vec![])]), Node("x", 1, vec![])];
        check(&Node("a", 5, below), "a 5\nab;c;d 1\nab;c;d;e 1\nax 1\n");
    }

    #[test]
    fn new_names_are_paid_for() {
        // Each node has one child, and spells a name that is a byte longer than the one before.
        let chain = |names: usize, name: &[u8]| {
            let node = |at| [&[name.len() as u8], name, &[0, u8::from(at + 1 < names)]].concat();
            (0..names).flat_map(node).collect::<Vec<u8>>()
        };
        let limits = Limits { entries: 10_000, ..Limits::default() };
        assert!(read(&chain(100, b"a;"), &limits).is_ok());
        let siblings = |names: Vec<[u8; 2]>| {
            let names = names.iter().flat_map(|name| chain(1, name)).collect::<Vec<u8>>();
            [&chain(1_000, b"a")[..999 * 4], &[1, b'a', 0, 40], &names].concat()
        };
        assert!(read(&siblings(vec![*b"x;"; 40]), &limits).is_ok());
        let error = read(&siblings((65..105).map(|letter| [letter, b';']).collect()), &limits).unwrap_err();
        assert!(error.to_string().contains("more than 10000"), "{error}");
    }

    #[test]
    fn no_bytes_are_no_data_and_faults_are_refused() {
        assert!(read(&[], &Limits::default()).unwrap().profile.samples.is_empty());
        let whole = bytes(&Node("a", 5, vec![Node(";b", 300, vec![])]));
        for cut in 1..whole.len() {
            assert_eq!(
                read(&whole[..cut], &Limits::default()).unwrap_err().kind(),
                ErrorKind::Malformed,
                "{cut}"
            );
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert!(read(&longer, &Limits::default()).unwrap_err().to_string().contains("other bytes follow"));
        let deep: Vec<u8> = [1, b'a', 1, 1].repeat(100_000);
        assert_eq!(read(&deep, &Limits::default()).unwrap_err().kind(), ErrorKind::TooLarge);
    }

    /// Writes `stacks` as a trie that branches where they differ.
    fn trie_of(stacks: &[(String, i64)], skip: usize, out: &mut Vec<u8>) {
        let own: i64 = stacks.iter().filter(|(stack, _)| stack.len() == skip).map(|(_, value)| value).sum();
        let mut groups: std::collections::BTreeMap<u8, Vec<(String, i64)>> = Default::default();
        for (stack, value) in stacks.iter().filter(|(stack, _)| stack.len() > skip) {
            groups.entry(stack.as_bytes()[skip]).or_default().push((stack.clone(), *value));
        }
        number(out, own as u64);
        number(out, groups.len() as u64);
        for (byte, group) in groups {
            number(out, 1);
            out.push(byte);
            trie_of(&group, skip + 1, out);
        }
    }

    proptest! {
        #[test]
        fn a_trie_says_what_its_stacks_say(stacks in prop::collection::btree_map("[a-cß]{1,3}(;[a-cß]{1,2}){0,4}", 1i64..1000, 0..20)) {
            let text: String = stacks.iter().map(|(stack, value)| format!("{stack} {value}\n")).collect();
            let mut bytes = vec![0];
            trie_of(&stacks.into_iter().collect::<Vec<_>>(), 0, &mut bytes);
            let decoded = read(&bytes, &Limits::default()).unwrap();
            prop_assert_eq!(folded::write(&decoded.profile, 0), text);
        }
    }
}
