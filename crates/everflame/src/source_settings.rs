//! How the places of source code are written in the configuration.

use crate::settings::{Setting, by_selector, show_list};
use everflame_api::{CodePlace, CodeSource, check_revision};
use everflame_query::Selector;

/// Places of source code, written as `{service_name="web"} git=/srv/web strip=/app; …`; none as `none`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SourceCode(pub(crate) Vec<CodePlace>);

const EXAMPLE: &str = r#"write {service_name="web"} git=/srv/web.git strip=/app root=backend revision=main; {service_name="shop"} url=https://git.example/shop/raw/{ref}/{path}"#;

impl Setting for SourceCode {
    fn parse(text: &str) -> Result<Self, String> {
        // Braces in an address would end the selector too late.
        let text = text.replace("{ref}", "\u{1}").replace("{path}", "\u{2}");
        by_selector(&text, EXAMPLE)?.into_iter().map(place).collect::<Result<_, _>>().map(Self)
    }

    fn show(&self) -> String {
        show_list(&self.0, "; ", shown)
    }
}

fn place((selector, rest): (Selector, String)) -> Result<CodePlace, String> {
    let (mut git, mut url, mut token_variable) = (String::new(), String::new(), String::new());
    let mut place = CodePlace {
        selector,
        from: CodeSource::Git(Default::default()),
        repository: String::new(),
        strip: String::new(),
        root: String::new(),
        revision: "HEAD".to_owned(),
    };
    for part in rest.split_whitespace() {
        let (name, value) =
            part.split_once('=').ok_or_else(|| format!("{part:?} has no value; {EXAMPLE}"))?;
        let value = value.replace('\u{1}', "{ref}").replace('\u{2}', "{path}");
        let field = match name {
            "git" => &mut git,
            "url" => &mut url,
            "token-variable" => &mut token_variable,
            "repository" => &mut place.repository,
            "strip" => &mut place.strip,
            "root" => &mut place.root,
            "revision" => &mut place.revision,
            _ => {
                return Err(format!(
                    "there is no {name:?} of source code; there are git, url, token-variable, repository, strip, \
                     root, revision; {EXAMPLE}"
                ));
            }
        };
        *field = value;
    }
    check_revision(&place.revision)?;
    place.from = match (git.is_empty(), url.is_empty()) {
        (false, true) if git.starts_with('/') => CodeSource::Git(git.into()),
        (false, true) => return Err(format!("git={git} is not a folder from the root; {EXAMPLE}")),
        (true, false) => {
            let is_http = url.starts_with("https://") || url.starts_with("http://");
            let host = url.split('/').nth(2).unwrap_or_default();
            if !is_http || !url.contains("{path}") || host.is_empty() || host.contains(['{', '@']) {
                return Err(format!(
                    "url={url} is no http:// or https:// address with {{path}} in it; {EXAMPLE}"
                ));
            }
            CodeSource::Http { template: url, token_variable }
        }
        _ => return Err(format!("{} has neither git nor url, or both; {EXAMPLE}", place.selector)),
    };
    Ok(place)
}

fn shown(place: &CodePlace) -> String {
    let CodePlace { selector, from, repository, strip, root, revision } = place;
    let mut text = selector.to_string();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            text += &format!(" {name}={value}");
        }
    };
    match from {
        CodeSource::Git(folder) => add("git", &folder.to_string_lossy()),
        CodeSource::Http { template, token_variable } => {
            add("url", template);
            add("token-variable", token_variable);
        }
    }
    add("repository", repository);
    add("strip", strip);
    add("root", root);
    add("revision", if revision == "HEAD" { "" } else { revision });
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::check;

    #[test]
    fn places_are_read_and_shown() {
        let check = check::<SourceCode>;
        check("none", "none");
        let text = r#"{service_name="web"} git=/srv/web.git repository=https://github.com/a/web strip=/app root=b revision=main; {} url=https://git.example/{ref}/{path} token-variable=TOKEN"#;
        check(text, text);
        for text in [
            "git=/srv",
            "{}",
            "{} git=web",
            "{} git=/web url=http://x/{path}",
            "{} url=ftp://x/{path}",
            "{} url=https://x/raw",
            "{} url=https://{path}/x",
            "{} url=https://key@x/{path}",
            "{} git=/web revision=--x",
            "{} git=/web branch=x",
            "{} git=/web x",
        ] {
            check(text, "refused");
        }
    }
}
