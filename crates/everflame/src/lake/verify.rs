//! `everflame lake verify`: whether all is there and adds up.

use super::{LakeArgs, printable};
use crate::clock::SystemClock;
use crate::print;
use anyhow::bail;
use everflame_lake::{Finding, Verification};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::sync::Arc;

/// Arguments of `everflame lake verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Checks the lake; an error when something is wrong with it.
pub(crate) async fn run(args: VerifyArgs) -> anyhow::Result<()> {
    let lake = args.lake.path()?;
    let mut progress = |done: u64, all: u64| {
        if std::io::stderr().is_terminal() {
            let _ = write!(std::io::stderr(), "\r{done} of {all} files");
            if done == all {
                let _ = writeln!(std::io::stderr());
            }
        }
    };
    let found = everflame_lake::verify(&lake, Arc::new(SystemClock), &mut progress).await?;
    match args.json {
        true => print(&format!("{:#}\n", json(&found)))?,
        false => print(&text(&found))?,
    }
    match found.findings.len() as u64 + found.more_findings {
        0 => Ok(()),
        1 => bail!("{}: one fault was found", lake.place()),
        faults => bail!("{}: {faults} faults were found", lake.place()),
    }
}

fn text(found: &Verification) -> String {
    let line = |kind: &str, finding: &Finding| {
        printable(&format!("{kind}: {}: {}", finding.path.display(), finding.what)) + "\n"
    };
    let mut out: String = found.findings.iter().map(|finding| line("fault", finding)).collect();
    if found.more_findings > 0 {
        out += &format!("and {} more faults\n", found.more_findings);
    }
    out.extend(found.notes.iter().map(|note| line("note", note)));
    let counts = [
        (found.files, "files"),
        (found.rows, "rows"),
        (found.totals, "totals"),
        (found.wal_records, "records of the write-ahead log"),
    ];
    let counts = counts.map(|(count, what)| format!("{count} {what}"));
    let verdict = if found.findings.is_empty() { "all is well" } else { "not all is well" };
    out + &format!("checked {}: {verdict}\n", counts.join(", "))
}

fn json(found: &Verification) -> Value {
    let list = |findings: &[Finding]| -> Vec<Value> {
        let one =
            |finding: &Finding| json!({ "path": finding.path.display().to_string(), "what": finding.what });
        findings.iter().map(one).collect()
    };
    json!({
        "ok": found.findings.is_empty(),
        "findings": list(&found.findings),
        "moreFindings": found.more_findings,
        "notes": list(&found.notes),
        "files": found.files,
        "rows": found.rows,
        "bytes": found.bytes,
        "totals": found.totals,
        "walRecords": found.wal_records,
    })
}
