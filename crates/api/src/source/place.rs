//! Where the source code of services is, and which file of a repository a profile means.
//!
//! Profiles name files as the compiler saw them: `/home/ci/build/cmd/main.go`, `example.com/shop/cart.go`,
//! `/app/shop/cart.py`. The repository has some end of that.

use crate::error::ApiError;
use everflame_profile::{Labels, ProfileType, Series, ValueType};
use everflame_query::Selector;
use std::path::PathBuf;

/// Longest path, in bytes: all ends of it fit into a pipe to git.
const MAX_PATH: usize = 1024;
/// Longest name of a commit, tag or branch.
const MAX_REVISION: usize = 200;
/// So many ends of a path are looked for.
const MAX_CANDIDATES: usize = 24;

/// Where the source code of some services is.
#[derive(Clone, Debug, PartialEq)]
pub struct CodePlace {
    /// Which services, by `service_name`.
    pub selector: Selector,
    /// What the code is read from.
    pub from: CodeSource,
    /// The repository's address, by which `vcs.v1.VCSService` finds it; may be empty.
    pub repository: String,
    /// The beginning of paths in profiles that is not in the repository. When it is empty the longest end of a
    /// path that the repository has is meant.
    pub strip: String,
    /// The folder of the repository that the rest is in; may be empty.
    pub root: String,
    /// The commit, tag or branch that is shown when a question names none that is known.
    pub revision: String,
}

/// What source code is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeSource {
    /// A repository on this machine, read with the program `git`.
    Git(PathBuf),
    /// A server of single files.
    Http {
        /// The address of a file, with `{path}` and `{ref}` in it.
        template: String,
        /// Name of the environment variable that holds a bearer token; may be empty.
        token_variable: String,
    },
}

impl CodePlace {
    /// Whether it holds the code of `service`.
    pub(crate) fn is_of(&self, service: &str) -> bool {
        let nothing = || ValueType::new("", "");
        let profile_type = ProfileType { name: String::new(), sample: nothing(), period: nothing() };
        self.selector
            .matches(&Series { labels: Labels::from_pairs([("service_name", service)]), profile_type })
    }

    /// Paths in the repository that `file`, as a profile names it, can be; the likeliest first.
    pub(crate) fn candidates(&self, file: &str) -> Result<Vec<String>, ApiError> {
        let parts = components(file)?;
        let root = components(&self.root)?;
        let strip = components(&self.strip)?;
        let below = |rest: &[&str]| [root.as_slice(), rest].concat().join("/");
        if !strip.is_empty() {
            return match parts.strip_prefix(strip.as_slice()) {
                Some(rest) if !rest.is_empty() => Ok(vec![below(rest)]),
                _ => Err(ApiError::not_found(format_args!(
                    "{file:?} is not below {:?}, where the code of this service is built; see source-code in the \
                     configuration",
                    self.strip
                ))),
            };
        }
        if is_of_a_dependency(&parts) {
            return Err(ApiError::not_found(format_args!(
                "{file:?} belongs to a library or to the language, not to the repository of the service"
            )));
        }
        let most = parts.len().saturating_sub(MAX_CANDIDATES);
        Ok((most..parts.len()).filter_map(|from| parts.get(from..)).map(below).collect())
    }

    /// Names of the commit to look at, the likeliest first: what is asked for, as a tag too, then the usual one.
    pub(crate) fn revisions(&self, wanted: &str) -> Result<Vec<String>, ApiError> {
        let mut revisions = Vec::new();
        if !wanted.is_empty() {
            check_revision(wanted).map_err(ApiError::invalid)?;
            revisions.extend([wanted.to_owned(), format!("v{wanted}")]);
        }
        revisions.push(self.revision.clone());
        Ok(revisions)
    }
}

/// Whether `revision` is a name that can do nothing but name a commit.
pub fn check_revision(revision: &str) -> Result<(), String> {
    let known = |c: char| c.is_ascii_alphanumeric() || "._/+-".contains(c);
    let fits = !revision.is_empty() && revision.len() <= MAX_REVISION && revision.chars().all(known);
    match fits && !revision.starts_with(['-', '/', '.']) && !revision.contains("..") {
        true => Ok(()),
        false => {
            Err(format!("{revision:?} is no name of a commit; send a hash, a tag or a branch such as v1.2.0"))
        }
    }
}

/// The parts of a path; one that leads out of its folder is refused.
fn components(path: &str) -> Result<Vec<&str>, ApiError> {
    if path.len() > MAX_PATH || path.chars().any(char::is_control) {
        return Err(ApiError::invalid(format_args!(
            "file: {} bytes; send the path of a source file, of at most {MAX_PATH} bytes without control characters",
            path.len()
        )));
    }
    let parts: Vec<&str> = path.split(['/', '\\']).filter(|part| !matches!(*part, "" | ".")).collect();
    match parts.contains(&"..") {
        true => {
            Err(ApiError::invalid(format_args!("file {path:?} leads out of its folder; send one without ..")))
        }
        false => Ok(parts),
    }
}

/// Folders in which package managers and compilers keep what others wrote.
fn is_of_a_dependency(parts: &[&str]) -> bool {
    let folders: [&[&str]; 11] = [
        &["pkg", "mod"],
        &["go", "src"],
        &["site-packages"],
        &["dist-packages"],
        &["node_modules"],
        &["gems"],
        &[".cargo", "registry"],
        &["rustc"],
        &["usr", "lib"],
        &["usr", "include"],
        &["jdk"],
    ];
    let is_versioned = |part: &&str| {
        part.split_once("@v").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    parts.iter().any(is_versioned)
        || folders.iter().any(|folder| parts.windows(folder.len()).any(|window| window == *folder))
}

/// The word by which a file that defines `function` must name it; `None` when there is none to look for.
pub(crate) fn identifier(function: &str) -> Option<&str> {
    let name = function.split_once(" (").map_or(function, |(name, _)| name);
    // Parameters go, the receiver of a Go method stays.
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let parameters =
        name.char_indices().zip(name.chars().skip(1)).find(|((_, before), c)| word(*before) && *c == '(');
    let name = parameters.and_then(|((at, before), _)| name.get(..at + before.len_utf8())).unwrap_or(name);
    let is_made = |part: &str| {
        let numbered = part.strip_prefix("func").or(part.strip_prefix("gowrap")).unwrap_or(part);
        let hash = part.strip_prefix('h').filter(|hash| hash.len() == 16);
        numbered.chars().all(|c| c.is_ascii_digit())
            || hash.is_some_and(|hash| hash.chars().all(|c| c.is_ascii_hexdigit()))
            || ["closure", "lambda", "anonymous", "module"].contains(&part)
    };
    name.split(|c: char| !word(c)).rfind(|part| !part.is_empty() && !is_made(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(strip: &str, root: &str) -> CodePlace {
        CodePlace {
            selector: r#"{service_name=~"shop-.*"}"#.parse().unwrap(),
            from: CodeSource::Git("/srv/shop".into()),
            repository: String::new(),
            strip: strip.to_owned(),
            root: root.to_owned(),
            revision: "HEAD".to_owned(),
        }
    }

    #[test]
    fn a_profile_names_the_end_of_a_path() {
        let check = |strip: &str, root: &str, file: &str, expect: &str| {
            let found = place(strip, root).candidates(file).map(|all| all.join(" "));
            assert_eq!(found.unwrap_or_else(|error| error.status().as_u16().to_string()), expect, "{file}");
        };
        check("", "", "/home/ci/main.go", "home/ci/main.go ci/main.go main.go");
        check("", "backend", "cart/cart.py", "backend/cart/cart.py backend/cart.py");
        check("", "", r"C:\src\App.cs", "C:/src/App.cs src/App.cs App.cs");
        check("/app", "", "/app/./lib//user.rb", "lib/user.rb");
        check("/app/", "services/shop", "/app/user.rb", "services/shop/user.rb");
        check("/app", "", "/application/user.rb", "404");
        check("/app", "", "/app", "404");
        for file in ["../etc/passwd", "/app/../../etc/passwd", r"a\..\b", "a\nb", "a\0b", &"x/".repeat(1024)]
        {
            check("", "", file, "400");
            check("/app", "", file, "400");
        }
        for file in [
            "/root/go/pkg/mod/golang.org/x/net@v0.1.0/http2/server.go",
            "golang.org/x/net@v0.1.0/http2/server.go",
            "/usr/local/go/src/net/http/server.go",
            "/usr/lib/python3.11/asyncio/base_events.py",
            "/app/node_modules/express/index.js",
            "/rustc/abc/library/core/src/lib.rs",
        ] {
            check("", "", file, "404");
        }
        assert_eq!(place("", "").candidates(&"x/".repeat(100)).unwrap().len(), MAX_CANDIDATES);
        assert!(place("", "").is_of("shop-cart") && !place("", "").is_of("shop"));
    }

    #[test]
    fn commits_are_named_and_nothing_else() {
        let revisions = |wanted: &str| place("", "").revisions(wanted).map(|all| all.join(" "));
        assert_eq!(revisions("").unwrap(), "HEAD");
        assert_eq!(revisions("1.4.2").unwrap(), "1.4.2 v1.4.2 HEAD");
        for wanted in [
            "--upload-pack=x",
            "a..b",
            "a b",
            "HEAD:etc",
            "HEAD^",
            "@{1}",
            "../x",
            "a\nb",
            "/x",
            &"a".repeat(201),
        ] {
            assert!(revisions(wanted).is_err(), "{wanted}");
        }
    }

    #[test]
    fn a_function_is_known_by_a_word() {
        for (function, expect) in [
            ("main.(*Server).Run.func1", "Run"),
            ("main.main", "main"),
            ("net/http.(*conn).serve", "serve"),
            ("<alloc::vec::Vec<T> as core::ops::Drop>::drop", "drop"),
            ("shop::cart::total::{{closure}}::h0123456789abcdef", "total"),
            ("java.util.HashMap.put(Object, Object)", "put"),
            ("handle (/app/server.js:12:3)", "handle"),
            ("lib/user.py find", "find"),
            ("总计", "总计"),
        ] {
            assert_eq!(identifier(function), Some(expect));
        }
        assert_eq!(identifier("func1"), None);
    }
}
