//! Pyroscope's binary call tree: preorder from a nameless root, each node as name length, name, self
//! value and number of children, all numbers unsigned LEB128. No head, no trailer; no bytes, no data.

use crate::assembly::Assembly;
use crate::leb::Reader;
use crate::{Cuts, Decoded, Error, ErrorKind, Limits};
use everflame_profile::{NodeIndex, Profile, Tree, ValueType};
use std::borrow::Cow;

/// Nodes are not kept: there may be more of them than names.
const NODES_OF_ENTRIES: usize = 4;

/// Reads a tree, gzip or plain. A name in the first node becomes a frame of its own.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Tree, Error> {
    let mut tree = Tree::default();
    let mut entries = 0usize;
    walk(
        bytes,
        limits,
        &mut tree,
        |tree, name| tree.intern(limits.cut_string(&name, &mut Cuts::default())),
        |tree, _, path, value| {
            entries += path.len();
            if entries > limits.entries {
                let fault = format_args!("its stacks have more than {} frames", limits.entries);
                return Err(Error::too_large("tree", fault, "send a smaller tree"));
            }
            tree.insert(path.iter().copied(), value);
            Ok(())
        },
    )?;
    Ok(tree)
}

/// Reads a tree, gzip or plain, into a profile of `samples` in `count`; the caller knows what they really
/// measure. Each node that has a value of its own, or no children, is a sample.
pub fn read_profile(bytes: &[u8], limits: &Limits) -> Result<Decoded, Error> {
    let mut profile =
        Profile { sample_types: vec![ValueType::new("samples", "count")], ..Profile::default() };
    let mut assembly = Assembly::new(limits);
    let mut stack = Vec::new();
    walk(
        bytes,
        limits,
        &mut assembly,
        |assembly, name| assembly.named(&name),
        |assembly, node, path, value| {
            stack.clear();
            stack.extend(path.iter().rev());
            assembly.push(format_args!("tree: node {node}"), &stack, &[value], &[])
        },
    )?;
    let cuts = assembly.finish(&mut profile);
    Ok(Decoded { profile, cuts })
}

/// Goes through all nodes: `name` gives each name a number, `value` gets the numbers from the root to a
/// node that has a value.
fn walk<T>(
    bytes: &[u8],
    limits: &Limits,
    target: &mut T,
    mut name: impl FnMut(&mut T, Cow<'_, str>) -> u32,
    mut value: impl FnMut(&mut T, usize, &[u32], i64) -> Result<(), Error>,
) -> Result<(), Error> {
    let body = crate::gzip::inflate_if_gzip(bytes, limits)?;
    let mut reader = Reader::new("tree", &body);
    if body.is_empty() {
        return Ok(());
    }
    // The names from the root to the current node, and how many children each has still to come.
    let mut path: Vec<u32> = Vec::new();
    let mut open: Vec<(usize, u64)> = Vec::new();
    let mut nodes = 0usize;
    // What all values weigh without their signs: no sum of some of them can be beyond it.
    let mut weight = 0u64;
    loop {
        let text = reader.name(limits)?;
        let (self_value, children) = (reader.number()? as i64, reader.children()?);
        nodes += 1;
        weight = weight.saturating_add(self_value.unsigned_abs());
        if i64::try_from(weight).is_err() {
            return Err(reader.error(ErrorKind::TooLarge, "its values add up to more than 64 bits"));
        }
        if nodes > NODES_OF_ENTRIES * limits.table_entries || open.len() > limits.depth {
            let fault = format!(
                "it has more than {} nodes or is deeper than {}",
                NODES_OF_ENTRIES * limits.table_entries,
                limits.depth
            );
            return Err(reader.error(ErrorKind::TooLarge, &fault));
        }
        let depth = path.len();
        if !(open.is_empty() && text.is_empty()) {
            path.push(name(target, text));
        }
        // What a node without a value of its own weighs is what its children say.
        if self_value != 0 || children == 0 && nodes > 1 {
            value(target, nodes, &path, self_value)?;
        }
        open.push((depth, children));
        while let Some((depth, children)) = open.last_mut() {
            if *children > 0 {
                *children -= 1;
                break;
            }
            path.truncate(*depth);
            open.pop();
        }
        if open.is_empty() {
            break;
        }
    }
    match reader.is_at_end() {
        false => Err(reader.error(ErrorKind::Malformed, "other bytes follow the tree")),
        true => Ok(()),
    }
}

/// Writes `tree`, children sorted by name; nothing at all for a tree without nodes. What truncation
/// folded becomes a node called "other".
pub fn write(tree: &Tree) -> Vec<u8> {
    let nodes = tree.nodes();
    let mut out = Vec::with_capacity(nodes.len() * 16);
    if nodes.len() == 1 && tree.total() == 0 {
        return out;
    }
    let children = tree.sorted_children();
    let mut pending: Vec<NodeIndex> = vec![0];
    while let Some(at) = pending.pop() {
        let Some(node) = nodes.get(at as usize) else { continue };
        let below = children.of(at);
        let name = if at == 0 { "" } else { tree.name(node) };
        number(&mut out, name.len() as u64);
        out.extend_from_slice(name.as_bytes());
        number(&mut out, node.self_value as u64);
        number(&mut out, below.len() as u64);
        pending.extend(below.iter().rev());
    }
    out
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(folded: &str) -> Tree {
        let mut tree = Tree::default();
        for line in folded.lines() {
            let (stack, value) = line.rsplit_once(' ').unwrap();
            let stack: Vec<_> = stack.split(';').map(|name| tree.intern(name)).collect();
            tree.insert(stack, value.parse().unwrap());
        }
        tree
    }

    fn read_all(bytes: &[u8]) -> Result<Tree, Error> {
        read(bytes, &Limits::default())
    }

    #[test]
    fn bytes_are_as_the_peer_writes_them() {
        let bytes = write(&tree("a;b 300\na 2"));
        assert_eq!(bytes, [0, 0, 1, 1, b'a', 2, 1, 1, b'b', 0xac, 2, 0]);
        assert!(write(&Tree::default()).is_empty());
        assert_eq!(read_all(&[]).unwrap(), Tree::default());
    }

    #[test]
    fn faults_are_refused() {
        let bytes = write(&tree("a;b 300\nc 2"));
        for cut in 1..bytes.len() {
            assert_eq!(read_all(&bytes[..cut]).unwrap_err().kind(), ErrorKind::Malformed, "{cut}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(read_all(&longer).unwrap_err().to_string().contains("other bytes follow"));
        assert_eq!(read_all(&[0, 0, 0x81, 0x7d]).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(
            read_all(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).unwrap_err().kind(),
            ErrorKind::TooLarge
        );
        // A saturated sum would depend on the order of what is added.
        let mut most = vec![0xff; 8];
        most.push(0x7f);
        let huge = [&[0, 0, 2, 1, b'a'], &most[..], &[0, 1, b'b', 1, 0]].concat();
        let fault = read_all(&huge).unwrap_err().to_string();
        assert!(fault.contains("more than 64 bits"), "{fault}");
        let deep: Vec<u8> = [0, 0, 1].repeat(5_000);
        assert_eq!(read_all(&deep).unwrap_err().kind(), ErrorKind::TooLarge);
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(stacks in prop::collection::vec((prop::collection::vec("[a-d]?", 0..6), -1000i64..100_000), 0..30)) {
            let mut tree = Tree::default();
            for (stack, value) in stacks {
                let stack: Vec<_> = stack.iter().map(|name| tree.intern(name)).collect();
                tree.insert(stack, value);
            }
            prop_assert_eq!(read_all(&write(&tree)).unwrap(), tree.clone());
            let profile = read_profile(&write(&tree), &Limits::default()).unwrap().profile;
            prop_assert_eq!(profile.totals(), [tree.total()]);
            let mut again = Tree::default();
            for sample in 0..profile.samples.len() {
                let stack: Vec<_> = profile.frames(sample).rev().map(|frame| again.intern(profile.symbols.strings.get(frame.function))).collect();
                again.insert(stack, profile.values(sample)[0]);
            }
            prop_assert_eq!(again, tree);
        }
    }
}
