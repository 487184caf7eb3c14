//! Sums by group and point of a time series. Hot.
//!
//! Rows come series by series in the order of time, so that most of them fall into the block of the row
//! before: a block is a run of points of one group, and only a change of blocks costs a look into the map.

use crate::scan::{Control, Interrupt};
use everflame_lake::ProfileId;
use everflame_profile::Nanos;
use hashbrown::HashMap;
use std::mem::size_of;

/// Points of a block. Larger blocks cost memory where points have gaps between them.
const BLOCK: u32 = 16;

/// What a block takes with its entry in the map, the spare room of both included.
const BLOCK_BYTES: usize = 2 * size_of::<Block>() + 48;

/// What exemplars add to a block.
const LARGEST_BYTES: usize = size_of::<[Option<Largest>; BLOCK as usize]>();

/// What was measured during one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) sum: i128,
    pub(crate) duration: i128,
    pub(crate) profiles: u64,
}

impl Bucket {
    fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        self.duration += other.duration;
        self.profiles += other.profiles;
    }
}

/// The profile that a point names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Largest {
    pub(crate) value: i64,
    pub(crate) time: Nanos,
    pub(crate) id: ProfileId,
    /// Position of its series in the selection.
    pub(crate) position: u32,
}

impl Largest {
    /// The same one is chosen in whatever order they come.
    fn beats(&self, other: &Self) -> bool {
        (self.value, other.time, other.id) > (other.value, self.time, self.id)
    }
}

/// Sums by group and point.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    blocks: Vec<Block>,
    /// Where the block of a group and a number lies in `blocks`.
    positions: HashMap<(u32, u32), usize>,
    /// Position of the block that was added to last.
    recent: usize,
}

/// The points `number * BLOCK` and up of one group.
#[derive(Debug)]
struct Block {
    group: u32,
    number: u32,
    /// A bit for each point that something was added to.
    seen: u32,
    buckets: [Bucket; BLOCK as usize],
    largest: Option<Box<[Option<Largest>; BLOCK as usize]>>,
}

impl Buckets {
    /// Adds `bucket` to a point.
    #[inline]
    pub(crate) fn add(
        &mut self,
        group: u32,
        point: u32,
        bucket: &Bucket,
        control: &Control,
    ) -> Result<(), Interrupt> {
        if let Some((block, at)) = self.slot(group, point, control)? {
            block.add(at, bucket);
        }
        Ok(())
    }

    /// Adds a profile to a point, and remembers it when it is the largest there.
    pub(crate) fn add_profile(
        &mut self,
        group: u32,
        point: u32,
        bucket: &Bucket,
        profile: Largest,
        control: &Control,
    ) -> Result<(), Interrupt> {
        let Some((block, at)) = self.slot(group, point, control)? else { return Ok(()) };
        block.add(at, bucket);
        if block.largest.is_none() {
            control.charge(LARGEST_BYTES)?;
        }
        block.keep_largest(at, profile);
        Ok(())
    }

    /// The block of a point, and the place of the point in it.
    #[inline]
    fn slot(
        &mut self,
        group: u32,
        point: u32,
        control: &Control,
    ) -> Result<Option<(&mut Block, usize)>, Interrupt> {
        let number = point / BLOCK;
        let recent = self.blocks.get(self.recent).map(|block| (block.group, block.number));
        if recent != Some((group, number)) {
            self.recent = self.position(group, number, control)?;
        }
        Ok(self.blocks.get_mut(self.recent).map(|block| (block, (point % BLOCK) as usize)))
    }

    fn position(&mut self, group: u32, number: u32, control: &Control) -> Result<usize, Interrupt> {
        let next = self.blocks.len();
        let position = *self.positions.entry((group, number)).or_insert(next);
        if position == next {
            control.charge(BLOCK_BYTES)?;
            self.blocks.push(Block {
                group,
                number,
                seen: 0,
                buckets: [Bucket::default(); BLOCK as usize],
                largest: None,
            });
        }
        Ok(position)
    }

    /// Adds everything that another thread found.
    pub(crate) fn merge(&mut self, mut other: Self) {
        if self.blocks.len() < other.blocks.len() {
            std::mem::swap(self, &mut other);
        }
        for block in other.blocks {
            let next = self.blocks.len();
            let position = *self.positions.entry((block.group, block.number)).or_insert(next);
            match self.blocks.get_mut(position) {
                Some(known) => known.merge(&block),
                None => self.blocks.push(block),
            }
        }
    }

    /// What was added to a point.
    pub(crate) fn get(&self, group: u32, point: u32) -> Option<&Bucket> {
        let block = self.blocks.get(*self.positions.get(&(group, point / BLOCK))?)?;
        let at = point % BLOCK;
        (block.seen >> at & 1 != 0).then(|| block.buckets.get(at as usize)).flatten()
    }

    /// Calls `line` for each group that something was added to, in ascending order, with its points, also
    /// in ascending order.
    pub(crate) fn for_each_group(mut self, mut line: impl FnMut(u32, &mut dyn Iterator<Item = Found<'_>>)) {
        self.blocks.sort_unstable_by_key(|block| (block.group, block.number));
        for blocks in self.blocks.chunk_by(|a, b| a.group == b.group) {
            if let Some(first) = blocks.first() {
                line(first.group, &mut blocks.iter().flat_map(Block::found));
            }
        }
    }
}

/// A point that something was added to.
pub(crate) struct Found<'a> {
    pub(crate) point: u32,
    pub(crate) bucket: &'a Bucket,
    pub(crate) largest: Option<Largest>,
}

impl Block {
    #[inline]
    fn add(&mut self, at: usize, bucket: &Bucket) {
        self.seen |= 1 << at;
        if let Some(known) = self.buckets.get_mut(at) {
            known.add(bucket);
        }
    }

    fn keep_largest(&mut self, at: usize, profile: Largest) {
        let all = self.largest.get_or_insert_with(Box::default);
        if let Some(known) = all.get_mut(at)
            && known.is_none_or(|known| profile.beats(&known))
        {
            *known = Some(profile);
        }
    }

    fn merge(&mut self, other: &Self) {
        for found in other.found() {
            let at = (found.point % BLOCK) as usize;
            self.add(at, found.bucket);
            if let Some(largest) = found.largest {
                self.keep_largest(at, largest);
            }
        }
    }

    fn found(&self) -> impl Iterator<Item = Found<'_>> {
        let largest = |at: u32| *self.largest.as_ref()?.get(at as usize)?;
        (0..BLOCK)
            .zip(&self.buckets)
            .filter(|(at, _)| self.seen >> at & 1 != 0)
            .map(move |(at, bucket)| Found { point: self.number * BLOCK + at, bucket, largest: largest(at) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn bucket(sum: i128) -> Bucket {
        Bucket { sum, duration: 1, profiles: 1 }
    }

    fn lines(buckets: Buckets) -> Vec<(u32, Vec<(u32, i128)>)> {
        let mut lines = Vec::new();
        buckets.for_each_group(|group, points| {
            lines.push((group, points.map(|found| (found.point, found.bucket.sum)).collect()));
        });
        lines
    }

    #[test]
    fn points_come_back_in_order_and_added_up() {
        let control = Control::new(&Limits::default());
        let (mut left, mut right) = (Buckets::default(), Buckets::default());
        for (group, point, sum) in [(1, 40, 5), (0, 3, 1), (1, 39, 2), (1, 40, 5), (0, u32::MAX, 9)] {
            left.add(group, point, &bucket(sum), &control).unwrap();
        }
        right.add(1, 40, &bucket(-3), &control).unwrap();
        right.add(2, 0, &bucket(0), &control).unwrap();
        left.merge(right);
        assert_eq!(left.get(1, 40), Some(&Bucket { sum: 7, duration: 3, profiles: 3 }));
        assert_eq!(left.get(1, 41), None);
        let expect = [(0, vec![(3, 1), (u32::MAX, 9)]), (1, vec![(39, 2), (40, 7)]), (2, vec![(0, 0)])];
        assert_eq!(lines(left), expect);
    }

    #[test]
    fn memory_is_counted() {
        let control = Control::new(&Limits { memory: 3 * BLOCK_BYTES as u64, ..Limits::default() });
        let mut buckets = Buckets::default();
        for point in 0..3 * BLOCK {
            buckets.add(0, point, &bucket(1), &control).unwrap();
        }
        assert!(buckets.add(1, 0, &bucket(1), &control).is_err());
    }
}
