//! `docs/configuration.md`, made from the table of keys.

use crate::config::Config;
use crate::keys::KEYS;

/// The page.
pub(crate) fn markdown() -> String {
    let mut page = String::from(
        "# Configuration of the server\n\
         \n\
         `everflame serve` needs none. Each key below can be a line of a YAML file (`--config FILE`, or the\n\
         environment variable `EVERFLAME_CONFIG`), an environment variable, or a flag. A flag wins over the\n\
         environment, the environment over the file, the file over the default. `everflame config` takes the same\n\
         flags and prints the effective configuration as such a file.\n\
         \n\
         Sizes are written `64MiB` or `1GB`, durations `500ms`, `60s`, `5m`, `2h` or `7d`.\n\
         \n\
         | key | flag | environment | default | meaning |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    let default = Config::default();
    for key in KEYS {
        page += &format!(
            "| `{name}` | `--{name}={value_name}` | `{variable}` | `{value}` | {help} |\n",
            name = key.name,
            value_name = key.value_name,
            variable = key.variable(),
            value = key.value(&default),
            help = key.help,
        );
    }
    page += "\nThe commands that talk to a server (`push`, `query`, `top`, `diff`, `sql`) read `EVERFLAME_URL`, or `--url`.\n";
    page += "\nThis page is printed by `everflame config --reference`; a test compares the two.\n";
    page
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_true() {
        let page = include_str!("../../../docs/configuration.md");
        assert!(
            page == super::markdown(),
            "docs/configuration.md is out of date; run `everflame config --reference > docs/configuration.md`"
        );
    }
}
