//! Waits until the server has nothing left to compact, by its own word.

use crate::http::{Address, Connection, get};
use crate::process::disk_bytes;
use anyhow::{Context, Result};
use std::path::Path;
use std::time::{Duration, Instant};

/// Files that compaction and the tiers still have to work on.
const PENDING: &str = "everflame_compaction_pending_files";

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// The server says for so many looks that nothing is pending, and its files stay as they are.
const QUIET_LOOKS: u32 = 5;

/// Waits until nothing is pending, at most `limit`. Returns how long that took; nothing when the server
/// does not compact.
pub(crate) async fn settle(address: &Address, data: &Path, limit: Duration) -> Result<Option<Duration>> {
    let began = Instant::now();
    let mut connection = Connection::open(address).await?;
    let (mut quiet, mut files) = (0, disk_bytes(data)?);
    let mut settled = began.elapsed();
    while quiet < QUIET_LOOKS {
        let response = connection.send(&get(address, "/metrics")).await?;
        let text = String::from_utf8_lossy(&response.body);
        let Some(pending) = gauge(&text, PENDING) else { return Ok(None) };
        let now = disk_bytes(data)?;
        if pending > 0.0 || now != files {
            (quiet, files, settled) = (0, now, began.elapsed());
        } else {
            quiet += 1;
        }
        if began.elapsed() > limit {
            return Err(anyhow::anyhow!("{pending} files"))
                .with_context(|| format!("compaction has not settled within {} s", limit.as_secs()));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Some(settled))
}

/// The sum of all series of `name` in Prometheus' text form; nothing when there is none.
fn gauge(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let rest = if rest.starts_with('{') { rest.split_once('}')?.1 } else { rest };
        rest.strip_prefix(' ')?.split(' ').next()?.parse::<f64>().ok()
    });
    values.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_summed() {
        let text = "# TYPE everflame_compaction_pending_files gauge\n\
                    everflame_compaction_pending_files{table=\"samples\"} 3\n\
                    everflame_compaction_pending_files{table=\"samples_5m\"} 4 1700000000\n\
                    everflame_compaction_pending_files_total 9\n";
        assert_eq!(gauge(text, PENDING), Some(7.0));
        assert_eq!(gauge("everflame_x 1\n", PENDING), None);
        assert_eq!(gauge("everflame_x 1\n", "everflame_x"), Some(1.0));
    }
}
