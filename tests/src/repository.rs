//! A git repository that a test makes, for what shows source code.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// A repository with a working folder, gone when it goes out of scope.
#[derive(Debug)]
pub struct Repository(TempDir);

impl Repository {
    /// An empty repository.
    ///
    /// # Errors
    /// When git is not installed.
    pub fn new() -> Result<Self> {
        let repository = Self(tempfile::Builder::new().prefix("everflame-repository-").tempdir()?);
        repository.git(&["init", "-q", "-b", "main"])?;
        Ok(repository)
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Commits `files` on top of what is there, and names the commit `tag`; answers its hash.
    ///
    /// # Errors
    /// When they cannot be written, or git refuses.
    pub fn commit(&self, tag: &str, files: &[(&str, &[u8])]) -> Result<String> {
        for (path, content) in files {
            let path = self.path().join(path);
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::write(&path, content).with_context(|| path.display().to_string())?;
        }
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "-m", tag])?;
        self.git(&["tag", tag])?;
        self.git(&["rev-parse", "HEAD"])
    }

    fn git(&self, arguments: &[&str]) -> Result<String> {
        let out = Command::new("git")
            .arg("-C")
            .arg(self.path())
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .context("git")?;
        ensure!(out.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8(out.stdout)?.trim().to_owned())
    }
}
