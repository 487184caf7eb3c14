//! Pyroscope's binary call tree: preorder from a nameless root, each node as name length, name, self
//! value and number of children, all numbers unsigned LEB128. No head, no trailer; no bytes, no data.

use crate::{Cuts, Error, ErrorKind, Limits};
use everflame_profile::{NodeIndex, StringIndex, Tree};
use std::borrow::Cow;

/// Most children of a node that readers of this format take.
const MAX_CHILDREN: u64 = 16_000;

/// Reads a tree, gzip or plain. A name in the first node becomes a frame of its own.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Tree, Error> {
    let body = crate::gzip::inflate_if_gzip(bytes, limits)?;
    let mut tree = Tree::default();
    let mut reader = Reader { all: &body, at: 0 };
    if body.is_empty() {
        return Ok(tree);
    }
    // The names from the root to the current node, and how many children each has still to come.
    let mut path: Vec<StringIndex> = Vec::new();
    let mut open: Vec<(usize, u64)> = Vec::new();
    let (mut nodes, mut entries) = (0usize, 0usize);
    loop {
        let name = reader.name(limits)?;
        let (self_value, children) = (reader.number()? as i64, reader.number()?);
        nodes += 1;
        if children > MAX_CHILDREN {
            let fault = format!("a node has {children} children, at most {MAX_CHILDREN} are read");
            return Err(reader.error(ErrorKind::TooLarge, &fault));
        }
        if nodes > limits.table_entries || open.len() > limits.depth {
            let fault =
                format!("it has more than {} nodes or is deeper than {}", limits.table_entries, limits.depth);
            return Err(reader.error(ErrorKind::TooLarge, &fault));
        }
        let depth = path.len();
        if !(open.is_empty() && name.is_empty()) {
            let name = tree.intern(limits.cut_string(&name, &mut Cuts::default()));
            path.push(name);
        }
        // What a node without a value of its own weighs is what its children say.
        if self_value != 0 || children == 0 && nodes > 1 {
            entries += path.len();
            if entries > limits.entries {
                return Err(reader.error(ErrorKind::TooLarge, "its stacks have too many frames in all"));
            }
            tree.insert(path.iter().copied(), self_value);
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
    match reader.at < body.len() {
        true => Err(reader.error(ErrorKind::Malformed, "other bytes follow the tree")),
        false => Ok(tree),
    }
}

struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u64, Error> {
        let mut number = 0;
        for nth in 0..10 {
            let Some(&byte) = self.all.get(self.at) else {
                return Err(self.error(ErrorKind::Malformed, "it ends in the middle of a node"));
            };
            self.at += 1;
            if nth == 9 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << (7 * nth);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.error(ErrorKind::Malformed, "a number has more than 64 bits"))
    }

    fn name(&mut self, limits: &Limits) -> Result<Cow<'a, str>, Error> {
        let length = self.number()?;
        if length > limits.string_bytes as u64 {
            let fault = format!("a name has {length} bytes, at most {} are read", limits.string_bytes);
            return Err(self.error(ErrorKind::TooLarge, &fault));
        }
        let end = self.at + length as usize;
        let Some(bytes) = self.all.get(self.at..end) else {
            return Err(self.error(ErrorKind::Malformed, "it ends in the middle of a name"));
        };
        self.at = end;
        Ok(String::from_utf8_lossy(bytes))
    }

    #[cold]
    fn error(&self, kind: ErrorKind, fault: &str) -> Error {
        let remedy = match kind {
            ErrorKind::TooLarge => "send a smaller tree",
            _ => "send the whole tree, unchanged",
        };
        Error::new(kind, format_args!("tree: byte {}", self.at), fault, remedy)
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
        assert_eq!(write(&Tree::default()), []);
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
            prop_assert_eq!(read_all(&write(&tree)).unwrap(), tree);
        }
    }
}
