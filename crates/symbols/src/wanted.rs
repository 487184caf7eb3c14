//! Whether a debug file is wanted, in words that agents know.

/// Whether a file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nobody sent it yet.
    New,
    /// Somebody began and did not finish.
    Stale,
    /// It is there, but the sender wants to replace it.
    Forced,
    /// Somebody is sending it, but the sender wants to begin anew.
    Restarted,
    /// It is there.
    Exists,
    /// Somebody is sending it.
    InProgress,
    /// There is no room for it.
    Full,
}

impl Wanted {
    /// Whether to send it.
    pub fn is_wanted(self) -> bool {
        matches!(self, Self::New | Self::Stale | Self::Forced | Self::Restarted)
    }

    /// Why. Parca's agent compares the text of the one about an upload under way.
    pub fn reason(self) -> &'static str {
        match self {
            Self::New => "First time we see this Build ID, therefore please upload!",
            Self::Stale => {
                "A previous upload was started but not finished and is now stale, so it can be retried."
            }
            Self::Forced => "Debuginfo already exists, but the upload is forced, therefore please upload!",
            Self::Restarted => {
                "A previous upload is still in-progress, but the upload is forced: begin anew!"
            }
            Self::Exists => {
                "Debuginfo already exists and is not marked as invalid, therefore no new upload is needed."
            }
            Self::InProgress => {
                "A previous upload is still in-progress and not stale yet (only stale uploads can be retried)."
            }
            Self::Full => {
                "All debug files together take as much as they may (debug-files-size), and there is no room for this one."
            }
        }
    }
}
