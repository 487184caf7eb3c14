//! Damaged input of every kind: readers answer or refuse, within their limits.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

mod message;

use everflame_formats::{Format, Limits, folded, gzip, otlp, pprof, speedscope, tree, trie};
use everflame_profile::{Profile, Tree};
use message::valid;
use proptest::prelude::*;

const OTLP: &str = r#"{"resourceProfiles":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},{"key":"n","value":{"arrayValue":{"values":[{"intValue":"3"}]}}}]},"scopeProfiles":[{"scope":{"name":"s"},"profiles":[
{"sampleType":{"typeStrindex":1,"unitStrindex":2},"samples":[{"stackIndex":2,"attributeIndices":[1],"linkIndex":1,"timestampsUnixNano":["1700000000000000011",12]}],"timeUnixNano":"1700000000000000000","durationNano":"5","periodType":{"typeStrindex":3,"unitStrindex":4},"period":"20"},
{"sampleType":{"typeStrindex":3,"unitStrindex":4},"samples":[{"stackIndex":1,"values":["7","8"],"timestampsUnixNano":["1700000000000000011",12]},{"stackIndex":1,"values":[-3]}]}]}]}],
"dictionary":{"mappingTable":[{},{"memoryStart":"4096","filenameStrindex":5,"attributeIndices":[2]}],"locationTable":[{},{"mappingIndex":1,"address":4100,"lines":[{"functionIndex":1,"line":"7"}]},{"address":"9"}],
"functionTable":[{},{"nameStrindex":5}],"linkTable":[{},{"traceId":"000102030405060708090a0b0c0d0e0f","spanId":"0102030405060708"}],
"stringTable":["","samples","count","cpu","nanoseconds","main","thread.name"],"attributeTable":[{},{"keyStrindex":6,"value":{"stringValue":"w"}},{"keyStrindex":6,"value":{"boolValue":true}}],"stackTable":[{},{"locationIndices":[1]},{"locationIndices":[2,1]}]}}"#;

/// What happens to bytes on their way.
#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Cut(prop::sample::Index),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let at = any::<prop::sample::Index>;
    let byte = || prop_oneof![any::<u8>(), Just(0x80), Just(0xff), Just(0), Just(1)];
    let one = prop_oneof![
        (at(), byte()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (at(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (at(), prop::collection::vec(byte(), 1..12)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (at(), 1usize..20).prop_map(|(at, count)| Damage::Remove(at, count)),
        (at(), 1usize..30).prop_map(|(at, count)| Damage::Repeat(at, count)),
        at().prop_map(Damage::Cut),
    ];
    prop::collection::vec(one, 1..6)
}

fn damage(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match damage {
            Damage::Set(at, byte) => bytes[at.index(length)] = *byte,
            Damage::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Damage::Insert(at, new) => drop(bytes.splice(at.index(length)..at.index(length), new.clone())),
            Damage::Remove(at, count) => {
                drop(bytes.drain(at.index(length)..(at.index(length) + count).min(length)));
            }
            Damage::Repeat(at, count) => {
                let part = bytes[at.index(length)..(at.index(length) + count).min(length)].to_vec();
                drop(bytes.splice(at.index(length)..at.index(length), part));
            }
            Damage::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

/// Reads all that a profile refers to, and writes it: what a reader lets through must hold together.
fn use_up(profile: &Profile) {
    profile.totals();
    profile.stack_ids();
    let bytes = pprof::write(profile);
    let again = pprof::read(&bytes, &Limits::default()).unwrap().profile;
    assert_eq!(again.totals(), profile.totals());
    for sample_type in 0..profile.sample_types.len() {
        folded::write(profile, sample_type);
    }
}

fn small() -> Limits {
    Limits {
        inflated_bytes: 1 << 20,
        samples: 50,
        entries: 2_000,
        table_entries: 200,
        depth: 20,
        ..Limits::default()
    }
}

fn a_tree() -> Tree {
    let mut tree = Tree::default();
    for stack in [["main", "work", "read"], ["main", "work", "write"], ["main", "idle", "wait"]] {
        let stack: Vec<_> = stack.iter().map(|name| tree.intern(name)).collect();
        tree.insert(stack, 300);
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn pprof_survives(damages in damages()) {
        if let Ok(decoded) = pprof::read(&damage(valid().0, &damages), &small()) {
            use_up(&decoded.profile);
        }
    }

    #[test]
    fn gzip_survives(damages in damages(), members in 1usize..3) {
        let bytes = gzip::deflate(&valid().0).repeat(members);
        if let Ok(inflated) = gzip::inflate(&damage(bytes, &damages), &small()) {
            prop_assert!(inflated.len() <= small().inflated_bytes);
        }
    }

    #[test]
    fn folded_survives(damages in damages(), single in any::<bool>()) {
        let lines = if single { folded::Lines::Single } else { folded::Lines::Counted };
        let text = b"main;work;read_[k] 12\nmain;idle -3\n\nmain 9223372036854775807\n".to_vec();
        if let Ok(decoded) = folded::read(&damage(text, &damages), lines, &small()) {
            use_up(&decoded.profile);
        }
    }

    #[test]
    fn tree_survives(damages in damages()) {
        if let Ok(tree) = tree::read(&damage(tree::write(&a_tree()), &damages), &small()) {
            prop_assert_eq!(tree::read(&tree::write(&tree), &Limits::default()).unwrap(), tree);
        }
    }

    #[test]
    fn tree_profiles_survive(damages in damages()) {
        if let Ok(decoded) = tree::read_profile(&damage(tree::write(&a_tree()), &damages), &small()) {
            use_up(&decoded.profile);
        }
    }

    #[test]
    fn trie_survives(damages in damages()) {
        let bytes = b"\x00\x00\x01\x06foo;ba\x00\x02\x01r\x02\x00\x04z;qu\x01\x00".to_vec();
        if let Ok(decoded) = trie::read(&damage(bytes, &damages), &small()) {
            use_up(&decoded.profile);
        }
    }

    #[test]
    fn speedscope_survives(damages in damages()) {
        let profile = pprof::read(&valid().0, &Limits::default()).unwrap().profile;
        let bytes = speedscope::write(&profile, "x").into_bytes();
        if let Ok(parts) = speedscope::read(&damage(bytes, &damages), &small()) {
            parts.parts.iter().for_each(|part| use_up(&part.profile));
        }
    }

    #[test]
    fn otlp_survives(damages in damages()) {
        let bytes = otlp::to_protobuf(OTLP.as_bytes(), &Limits::default()).unwrap();
        if let Ok(export) = otlp::read(&damage(bytes, &damages), &small()) {
            export.parts.iter().for_each(|part| use_up(&part.profile));
        }
    }

    #[test]
    fn otlp_json_survives(damages in damages()) {
        if let Ok(export) = otlp::read_json(&damage(OTLP.as_bytes().to_vec(), &damages), &small()) {
            export.parts.iter().for_each(|part| use_up(&part.profile));
        }
    }

    #[test]
    fn noise_survives(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = pprof::read(&bytes, &small());
        let _ = tree::read(&bytes, &small());
        let _ = trie::read(&bytes, &small());
        let _ = otlp::read(&bytes, &small());
        if let Some(format) = Format::detect(&bytes, &small()) {
            let _ = format.read(&bytes, &small());
        }
        let _ = folded::read(&bytes, folded::Lines::Counted, &small());
        let _ = gzip::inflate(&[&[0x1f, 0x8b, 8, 0], bytes.as_slice()].concat(), &small());
    }
}
