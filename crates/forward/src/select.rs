//! Which series are sent on.

use everflame_lake::Batch;
use everflame_profile::Series;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Says of a series whether it is sent on.
#[derive(Clone)]
pub struct Select(Arc<dyn Fn(&Series) -> bool + Send + Sync>);

impl Select {
    /// Those that `takes` takes.
    pub fn new(takes: impl Fn(&Series) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(takes))
    }

    /// The part of `batch` that is sent on; nothing when there is none.
    pub(crate) fn of<'a>(&self, batch: &'a Batch) -> Option<Cow<'a, Batch>> {
        let takes: Vec<bool> = batch.series.iter().map(|series| (self.0)(series)).collect();
        if !takes.contains(&true) {
            return None;
        }
        if !takes.contains(&false) {
            return Some(Cow::Borrowed(batch));
        }
        let mut part = Batch { profiles: Vec::new(), samples: Vec::new(), ..batch.clone() };
        let mut start = 0;
        for row in &batch.profiles {
            let end = row.samples_end as usize;
            if takes.get(row.series as usize) == Some(&true) {
                part.samples.extend_from_slice(batch.samples.get(start..end).unwrap_or_default());
                let mut row = *row;
                row.samples_end = part.samples.len() as u32;
                part.profiles.push(row);
            }
            start = end;
        }
        Some(Cow::Owned(part))
    }
}

impl fmt::Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Select")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outgoing::tests::batch;

    #[test]
    fn parts() {
        let batch = batch("shop", &["a", "b", "c"]);
        let of = |takes: fn(&str) -> bool| {
            Select::new(move |series| takes(series.labels.get("pod"))).of(&batch).map(Cow::into_owned)
        };
        assert_eq!(of(|_| false), None);
        assert_eq!(of(|_| true).as_ref(), Some(&batch));
        let part = of(|pod| pod != "b").unwrap();
        let rows: Vec<_> = part.profiles.iter().map(|row| (row.series, row.id, row.samples_end)).collect();
        let ids = |at: usize| batch.profiles[at].id;
        assert_eq!(rows, [(0, ids(0), 2), (2, ids(2), 4)]);
        assert_eq!(part.samples, [&batch.samples[..2], &batch.samples[4..]].concat());
    }
}
