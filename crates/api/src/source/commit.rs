//! Commits of a repository: who made them, when, and why.

use super::{CodePlace, CodeSource, Sources, git, web_page};
use crate::error::ApiError;
use crate::times;

/// Most commits that are asked for at once.
const MAX_COMMITS: usize = 100;

/// A commit of a repository.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Its hash.
    pub(crate) id: String,
    /// The author's name on GitHub where the address tells it, otherwise as the commit has it.
    pub(crate) author: String,
    /// The author's picture; empty when it is not known.
    pub(crate) picture: String,
    /// When the author made it, in RFC 3339, UTC.
    pub(crate) date: String,
    /// What the author wrote.
    pub(crate) message: String,
    /// Where people can look at it; empty when that is not known.
    pub(crate) url: String,
}

impl Sources {
    /// Those of `revisions` that the repository of `place` has, in their order. An empty one is the usual one.
    pub(crate) async fn commits(
        &self,
        place: &CodePlace,
        revisions: &[String],
    ) -> Result<Vec<Commit>, ApiError> {
        let CodeSource::Git(folder) = &place.from else {
            return Err(ApiError::failed_precondition(format_args!(
                "{} is configured as a server of files, which has no commits; name a folder with git= in source-code",
                place.repository
            )));
        };
        if revisions.is_empty() || revisions.len() > MAX_COMMITS {
            return Err(ApiError::invalid(format_args!(
                "{} commits are asked for; send 1 to {MAX_COMMITS}",
                revisions.len()
            )));
        }
        let mut names = Vec::new();
        for (nth, revision) in revisions.iter().enumerate() {
            let mut candidates = place.revisions(revision)?;
            if !revision.is_empty() {
                // The usual one, which is not what was asked for.
                candidates.pop();
            }
            names.extend(candidates.into_iter().map(|name| (nth, name)));
        }
        let (positions, names): (Vec<usize>, Vec<String>) = names.into_iter().unzip();
        // Only a semaphore that is closed gives none, and this one never is.
        let _turn = self.turns.acquire().await.map_err(ApiError::internal)?;
        let mut found: Vec<(usize, Commit)> = Vec::new();
        for (at, raw) in git::commits(folder, &names).await? {
            let Some(&nth) = positions.get(at) else { continue };
            if found.last().is_none_or(|(last, _)| *last != nth) {
                found.push((nth, Commit::read(raw.id, &raw.text, &place.repository)));
            }
        }
        match found.is_empty() {
            false => Ok(found.into_iter().map(|(_, commit)| commit).collect()),
            true => Err(ApiError::not_found(format_args!(
                "none of {} is a commit of {}; is it up to date?",
                revisions.join(", "),
                place.repository
            ))),
        }
    }
}

impl Commit {
    /// Reads what git keeps of a commit: lines of headers, an empty line, and the message.
    fn read(id: String, text: &str, repository: &str) -> Self {
        let (headers, message) = text.split_once("\n\n").unwrap_or((text, ""));
        let author = headers.lines().find_map(|line| line.strip_prefix("author ")).unwrap_or_default();
        let (person, time) = author.rsplit_once("> ").unwrap_or((author, ""));
        let (name, address) = person.split_once('<').unwrap_or((person, ""));
        let seconds = time.split(' ').next().and_then(|seconds| seconds.parse::<i64>().ok());
        let date = seconds.and_then(|seconds| seconds.checked_mul(1_000_000)).map(times::rfc3339_micros);
        let login = github_login(address);
        let page = web_page(repository);
        Self {
            author: login.unwrap_or(name.trim()).to_owned(),
            picture: login.map(|login| format!("https://github.com/{login}.png")).unwrap_or_default(),
            date: date.unwrap_or_default(),
            message: message.trim_end().to_owned(),
            url: page.map(|page| format!("{page}/commit/{id}")).unwrap_or_default(),
            id,
        }
    }
}

/// The name on GitHub in an address that GitHub gives to those who hide theirs.
fn github_login(address: &str) -> Option<&str> {
    let name = address.strip_suffix("@users.noreply.github.com")?;
    let name = name.split_once('+').map_or(name, |(_, name)| name);
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (!name.is_empty() && name.chars().all(known)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_read() {
        let read = |author: &str| {
            let text = format!(
                "tree 1\nparent 2\nauthor {author}\ncommitter C <c@x> 1 +0000\ngpgsig -----\n x\n\nwhy\n\nmore\n"
            );
            Commit::read("ab".to_owned(), &text, "https://github.com/example/shop.git")
        };
        let commit = read("Ada L <ada@example.com> 1665666076 -0400");
        assert_eq!(
            commit,
            Commit {
                id: "ab".to_owned(),
                author: "Ada L".to_owned(),
                picture: String::new(),
                date: "2022-10-13T13:01:16Z".to_owned(),
                message: "why\n\nmore".to_owned(),
                url: "https://github.com/example/shop/commit/ab".to_owned(),
            }
        );
        let commit = read("Ada L <1+ada-l@users.noreply.github.com> 1 +0000");
        assert_eq!((commit.author, commit.picture), ("ada-l".into(), "https://github.com/ada-l.png".into()));
        for broken in ["", "x", "<> ", "a<b> x y", "a <b> 9223372036854775807 +0000"] {
            assert_eq!(read(broken).date, "", "{broken}");
        }
        assert_eq!(Commit::read("ab".to_owned(), "", "/srv/shop").url, "");
        assert_eq!(github_login("a/../b@users.noreply.github.com"), None);
    }
}
