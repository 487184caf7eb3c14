//! The pprof bodies that are sent: real profiles, each in eight variants, made once.
//!
//! Only the time differs between two profiles of one variant. It travels in a gzip member of its own
//! behind the compressed profile (gzip allows several members, protobuf takes the last value of a
//! field), so that sending a profile costs a copy and no compression.

use anyhow::{Context, Result, ensure};
use everflame_formats::{Limits, pprof};
use everflame_profile::{Nanos, Profile, Samples};

/// The real profiles; `profiles/README.md` tells where they come from.
const PROFILES: [(&str, &[u8]); 4] = [
    ("go-compile", include_bytes!("../profiles/go-compile.pb.gz")),
    ("gofmt", include_bytes!("../profiles/gofmt.pb.gz")),
    ("go-link", include_bytes!("../profiles/go-link.pb.gz")),
    ("shop", include_bytes!("../profiles/shop.pb.gz")),
];

/// Variants of each profile.
const VARIANTS: u64 = 8;

/// Per mille of the samples that the first variant keeps, and what each further one keeps more. On
/// average that leaves about 190 samples a profile, as a busy Go service has in 15 seconds.
const KEPT_FIRST: u64 = 350;
const KEPT_STEP: u64 = 65;

/// Field 9 of a pprof, `time_nanos`, as a varint.
const TIME_NANOS_KEY: u8 = 9 << 3;

/// One variant of one real profile, ready to be sent at any time.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    /// The gzip member that holds everything but the time.
    pub(crate) gzip: Vec<u8>,
    /// Sum of the `cpu` values, nanoseconds.
    pub(crate) cpu: i64,
    /// Stacks with values.
    pub(crate) samples: u64,
    /// Values that are not zero: the rows that a store of one value a row keeps.
    pub(crate) rows: u64,
}

/// Samples that a small body keeps of each profile, on average.
const SMALL: u64 = 10;

/// How much of the real profiles the bodies keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// 35 to 80 % of the samples: a busy service.
    Full,
    /// About ten samples: an idle one.
    Small,
}

/// The real profiles with their names.
pub(crate) fn real() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    PROFILES.into_iter()
}

/// All variants of all profiles, in a fixed order.
pub(crate) fn bodies(size: Size) -> Result<Vec<Body>> {
    let mut bodies = Vec::new();
    for (index, (name, bytes)) in PROFILES.into_iter().enumerate() {
        let decoded = pprof::read(bytes, &Limits::default()).with_context(|| format!("profile {name}"))?;
        for variant in 0..VARIANTS {
            let mut random = Random(index as u64 * VARIANTS + variant);
            let kept = match size {
                Size::Full => KEPT_FIRST + KEPT_STEP * variant,
                Size::Small => SMALL * 1000 / decoded.profile.samples.len().max(1) as u64,
            };
            let profile = vary(&decoded.profile, kept, &mut random);
            bodies.push(body(&profile).with_context(|| format!("profile {name}, variant {variant}"))?);
        }
    }
    Ok(bodies)
}

/// `profile` with `kept` of 1000 samples, whose values have changed places.
fn vary(profile: &Profile, kept: u64, random: &mut Random) -> Profile {
    let chosen: Vec<usize> = (0..profile.samples.len()).filter(|_| random.below(1000) < kept).collect();
    let mut donors = chosen.clone();
    for last in (1..donors.len()).rev() {
        donors.swap(last, random.below(last as u64 + 1) as usize);
    }
    let mut samples = Samples::default();
    for (&sample, &donor) in chosen.iter().zip(&donors) {
        let from = &profile.samples;
        samples.push(from.stack(sample), profile.values(donor), from.labels(sample));
    }
    Profile { samples, time: 0, ..profile.clone() }
}

fn body(profile: &Profile) -> Result<Body> {
    let cpu = profile.sample_types.iter().position(|kind| kind.kind == "cpu").context("no cpu values")?;
    let cpu = profile.totals().get(cpu).copied().unwrap_or_default();
    ensure!(cpu > 0, "no sample is left");
    Ok(Body {
        gzip: pprof::write(profile),
        cpu,
        samples: profile.samples.len() as u64,
        rows: profile.samples.values.iter().filter(|&&value| value != 0).count() as u64,
    })
}

/// Appends the gzip member that says when the profile was taken.
pub(crate) fn push_time(out: &mut Vec<u8>, time: Nanos) {
    let mut message = [TIME_NANOS_KEY; TIME_MESSAGE];
    // A varint of fixed length: every byte but the last says that more follow.
    for (at, byte) in message.iter_mut().skip(1).enumerate() {
        *byte = (time as u64 >> (7 * at)) as u8 & 0x7f | if at + 2 < TIME_MESSAGE { 0x80 } else { 0 };
    }
    let len = TIME_MESSAGE as u16;
    out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    out.push(1); // the last block, stored
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&(!len).to_le_bytes());
    out.extend_from_slice(&message);
    out.extend_from_slice(&libdeflater::crc32(&message).to_le_bytes());
    out.extend_from_slice(&u32::from(len).to_le_bytes());
}

/// Bytes of the message with the time alone: a key and nine bytes of varint, good for 63 bits.
const TIME_MESSAGE: usize = 10;

/// Bytes that [`push_time`] appends.
pub(crate) const TIME_MEMBER: usize = 10 + 5 + TIME_MESSAGE + 8;

/// SplitMix64: the same numbers on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_with_its_time_reads_back() {
        for body in [Size::Full, Size::Small].into_iter().flat_map(|size| bodies(size).unwrap()) {
            let mut sent = body.gzip.clone();
            let time = 1_767_225_600_123_456_789;
            push_time(&mut sent, time);
            assert_eq!(sent.len(), body.gzip.len() + TIME_MEMBER);
            let read = pprof::read(&sent, &Limits::default()).unwrap().profile;
            assert_eq!(read.time, time);
            assert_eq!(read.samples.len() as u64, body.samples);
            assert!(read.totals().contains(&body.cpu));
        }
    }

    #[test]
    fn variants_differ_and_are_the_same_each_time() {
        let (first, again) = (bodies(Size::Full).unwrap(), bodies(Size::Full).unwrap());
        assert_eq!(first.len(), PROFILES.len() * VARIANTS as usize);
        for (at, body) in first.iter().enumerate() {
            assert_eq!(body.gzip, again[at].gzip);
            assert!(first[..at].iter().all(|other| other.gzip != body.gzip));
        }
        let samples: u64 = first.iter().map(|body| body.samples).sum();
        let average = samples / first.len() as u64;
        assert!((170..210).contains(&average), "{average} samples a profile");
        let small = bodies(Size::Small).unwrap();
        let average = small.iter().map(|body| body.samples).sum::<u64>() / small.len() as u64;
        assert!((7..14).contains(&average), "{average} samples a small profile");
    }
}
