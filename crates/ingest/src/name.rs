//! The parameter `name` of `/ingest`: `app{key=value,key2=value2}`.
//!
//! Keys and values are trimmed, values are raw (no quotes, no escapes). The last of equal keys wins, a last pair
//! that is unclosed or has no `=` is dropped, `__name__` in the braces replaces the application.

use crate::error::Error;
use everflame_profile::PROFILE_NAME;

/// A parsed name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppName {
    /// The application, a suffix such as `.cpu` included.
    pub app: String,
    /// The pairs in the braces, in their order; of equal keys only the last is here.
    pub labels: Vec<(String, String)>,
}

/// Parses the parameter `name` of `/ingest`.
pub fn parse_name(name: &str) -> Result<AppName, Error> {
    let (app, pairs) = name.split_once('{').unwrap_or((name, ""));
    let mut labels: Vec<(String, String)> = Vec::new();
    let mut app = app.trim().to_owned();
    // What follows the closing brace has no meaning; a last pair without `,` or `}` is cut off.
    let (pairs, closed) = match pairs.split_once('}') {
        Some((pairs, _)) => (pairs, true),
        None => (pairs, false),
    };
    let mut rest = pairs;
    while !rest.is_empty() {
        let (pair, next) = match rest.split_once(',') {
            Some((pair, next)) => (pair, next),
            None if closed => (rest, ""),
            None => break,
        };
        rest = next;
        let Some((key, value)) = pair.split_once('=') else {
            // Agents do not escape values: what follows a comma in the last one is cut off.
            if pair.trim().is_empty() || next.is_empty() {
                continue;
            }
            return Err(Error::invalid(format!(
                "name: {:?} in the braces is not a pair; write key=value, as in app{{region=eu,pod=a}}",
                pair.trim()
            )));
        };
        let (key, value) = (key.trim(), value.trim());
        check_key(key)?;
        if key == PROFILE_NAME {
            value.clone_into(&mut app);
            continue;
        }
        labels.retain(|(other, _)| other != key);
        labels.push((key.to_owned(), value.to_owned()));
    }
    check_app(&app)?;
    Ok(AppName { app, labels })
}

fn check_app(app: &str) -> Result<(), Error> {
    if app.is_empty() {
        return Err(Error::invalid(
            "name: the application name is empty; send name=app or name=app{key=value}",
        ));
    }
    match app.chars().find(|&c| !(c.is_ascii_alphanumeric() || "_.-/".contains(c))) {
        None => Ok(()),
        Some(bad) => Err(Error::invalid(format!(
            "name: the application name {app:?} contains {bad:?}; use letters, digits and _ . - /"
        ))),
    }
}

fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::invalid("name: a label in the braces has no key; write key=value"));
    }
    match key.chars().find(|&c| !(c.is_ascii_alphanumeric() || "_.".contains(c))) {
        None => Ok(()),
        Some(bad) => Err(Error::invalid(format!(
            "name: the label key {key:?} contains {bad:?}; use letters, digits, _ and ."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expect: &str) {
        let actual = match parse_name(name) {
            Ok(AppName { app, labels }) => {
                let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("{app} | {}", labels.join(" | "))
            }
            Err(error) => format!("error {error}"),
        };
        assert!(actual.starts_with(expect), "{name:?} gives {actual:?}, not {expect:?}");
    }

    #[test]
    fn names() {
        check("app", "app | ");
        check(" app{} ", "app | ");
        check("shop.cpu{region=eu,pod=a}", "shop.cpu | region=eu | pod=a");
        check("a/b-c.d{ k = v w , x.y=1=2/3 }", "a/b-c.d | k=v w | x.y=1=2/3");
        check("app{a=1,b=2,a=3}", "app | b=2 | a=3");
        check("app{a=1,b=2", "app | a=1");
        check("app{a=1,}", "app | a=1");
        check("app{a=x,z}", "app | a=x");
        check("app{a}", "app | ");
        check("app{a=}", "app | a=");
        check("app{__name__=other,a=1}", "other | a=1");
        check("app{a=1}{b=2}", "app | a=1");
    }

    #[test]
    fn refusals() {
        check("", "error name: the application name is empty");
        check("{a=1}", "error name: the application name is empty");
        check("shop cart", "error name: the application name \"shop cart\" contains ' '");
        check("größe", "error name: the application name \"größe\" contains 'ö'");
        check("app{=1}", "error name: a label in the braces has no key");
        check("app{a-b=1}", "error name: the label key \"a-b\" contains '-'");
        check("app{a,b=1}", "error name: \"a\" in the braces is not a pair");
    }
}
