//! `everflame query` and `everflame top`: ask a server for a merged profile and show it.

use crate::client::{Client, ServerArgs};
use crate::{print, text};
use anyhow::{Context, bail};
use everflame_formats::{Limits, dot, folded, json_tree, pprof, speedscope, svg};
use everflame_profile::{Profile, TopTable, Tree};
use std::path::{Path, PathBuf};

/// Type that is shown when none is named.
const DEFAULT_TYPE: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

/// Which profiles.
#[derive(Debug, clap::Args)]
pub(crate) struct SelectionArgs {
    /// A service, a selector such as '{service_name="shop"}', or a type with a selector such as
    /// 'memory:inuse_space:bytes:space:bytes{service_name="shop"}'. Everything when absent.
    #[arg(default_value = "{}")]
    query: String,
    /// Profile type, when the query names none.
    #[arg(long = "type", value_name = "TYPE", default_value = DEFAULT_TYPE)]
    profile_type: String,
}

/// Which time.
#[derive(Debug, clap::Args)]
pub(crate) struct RangeArgs {
    /// Start: now-1h, seconds or milliseconds since 1970, or 2026-01-31T12:00:00Z.
    #[arg(long, default_value = "now-1h", allow_hyphen_values = true)]
    pub(crate) from: String,
    /// End.
    #[arg(long, default_value = "now", allow_hyphen_values = true)]
    pub(crate) until: String,
}

/// Arguments of `everflame query`.
#[derive(Debug, clap::Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// Show the functions that weigh most instead of the tree.
    #[arg(long, group = "form")]
    top: bool,
    /// Show folded stacks, whole.
    #[arg(long, group = "form")]
    folded: bool,
    /// Write to this file instead. Its name says in which form: .svg (flame graph), .dot (call graph for
    /// Graphviz), .speedscope.json, .json (tree), .folded or .collapsed, .txt (tree as text); pprof otherwise.
    #[arg(long, value_name = "FILE", group = "form")]
    output: Option<PathBuf>,
    /// How many frames the tree, or rows the table, may have.
    #[arg(long, default_value_t = 60)]
    limit: usize,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `everflame top`.
#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// How many rows.
    #[arg(long, default_value_t = 30)]
    limit: usize,
    #[command(flatten)]
    server: ServerArgs,
}

/// Shows a merged profile in the form that was asked for.
pub(crate) async fn run(args: QueryArgs) -> anyhow::Result<()> {
    let client = Client::new(&args.server)?;
    let merged = Merged::fetch(&client, &args.selection.query()?, &args.range).await?;
    if let Some(path) = &args.output {
        let form = Form::of(path);
        let bytes = form.write(&merged, &args);
        let written = tokio::fs::write(path, &bytes).await;
        written.with_context(|| format!("{} cannot be written", path.display()))?;
        return print(&format!("{}: {} bytes of {}\n", path.display(), bytes.len(), form.name()));
    }
    if args.folded {
        return print(&folded::write(&merged.profile, merged.sample_type));
    }
    let tree = merged.tree();
    match args.top {
        true => print(&text::top(&TopTable::new(&tree), merged.unit(), args.limit)),
        false => print(&text::tree(tree, merged.unit(), args.limit)),
    }
}

/// What a file can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Pprof,
    Svg,
    Dot,
    Speedscope,
    Json,
    Folded,
    Text,
}

impl Form {
    /// What the name of a file asks for.
    fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let endings = [
            (".svg", Self::Svg),
            (".dot", Self::Dot),
            (".gv", Self::Dot),
            (".speedscope.json", Self::Speedscope),
            (".speedscope", Self::Speedscope),
            (".json", Self::Json),
            (".folded", Self::Folded),
            (".collapsed", Self::Folded),
            (".txt", Self::Text),
        ];
        endings.iter().find(|(ending, _)| name.ends_with(ending)).map_or(Self::Pprof, |(_, form)| *form)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pprof => "pprof",
            Self::Svg => "SVG",
            Self::Dot => "DOT",
            Self::Speedscope => "speedscope",
            Self::Json => "JSON",
            Self::Folded => "folded stacks",
            Self::Text => "text",
        }
    }

    fn write(self, merged: &Merged, args: &QueryArgs) -> Vec<u8> {
        let (title, unit) = (args.selection.query.as_str(), merged.unit());
        let text = match self {
            Self::Pprof => return merged.pprof.clone(),
            Self::Svg => {
                let mut tree = merged.tree();
                tree.truncate(svg::DEFAULT_NODES);
                svg::write(&tree, title, unit)
            }
            Self::Dot => dot::write(&merged.tree(), title, unit, dot::DEFAULT_NODES),
            Self::Speedscope => speedscope::write(&merged.profile, title),
            Self::Json => json_tree::write(&merged.tree()),
            Self::Folded => folded::write(&merged.profile, merged.sample_type),
            Self::Text => text::tree(merged.tree(), unit, args.limit),
        };
        text.into_bytes()
    }
}

/// Shows the functions that weigh most.
pub(crate) async fn top(args: TopArgs) -> anyhow::Result<()> {
    let client = Client::new(&args.server)?;
    let merged = Merged::fetch(&client, &args.selection.query()?, &args.range).await?;
    print(&text::top(&TopTable::new(&merged.tree()), merged.unit(), args.limit))
}

impl SelectionArgs {
    /// Type and selector, as the server takes them.
    pub(crate) fn query(&self) -> anyhow::Result<String> {
        query(&self.query, &self.profile_type)
    }
}

/// Type and selector from what a person wrote.
pub(crate) fn query(text: &str, profile_type: &str) -> anyhow::Result<String> {
    let text = text.trim();
    match text.split_once('{') {
        Some(("", _)) => Ok(format!("{profile_type}{text}")),
        Some(_) => Ok(text.to_owned()),
        None if text.matches(':').count() >= 4 => Ok(format!("{text}{{}}")),
        None if text.is_empty() || text.contains(['"', '=', '}']) => {
            bail!("{text:?} is neither a service nor a selector; write shop, or '{{service_name=\"shop\"}}'")
        }
        None => Ok(format!("{profile_type}{{service_name={text:?}}}")),
    }
}

/// What a server answered.
pub(crate) struct Merged {
    pprof: Vec<u8>,
    profile: Profile,
    sample_type: usize,
}

impl Merged {
    /// Asks for all that `query` selects in `range`, merged.
    pub(crate) async fn fetch(client: &Client, query: &str, range: &RangeArgs) -> anyhow::Result<Self> {
        let parameters = [("query", query), ("from", &range.from), ("until", &range.until)];
        let response = client.send(client.get("/api/v1/pprof").query(&parameters)).await?;
        let pprof = response.bytes().await.context("the answer broke off")?.to_vec();
        // The server bounds what it answers; the limits for uploads are not meant for it.
        let limits = Limits {
            inflated_bytes: 1 << 30,
            inflated_ratio: usize::MAX,
            samples: usize::MAX,
            table_entries: usize::MAX,
            entries: usize::MAX,
            ..Limits::default()
        };
        let profile = pprof::read(&pprof, &limits).context("the answer is no pprof")?.profile;
        if profile.samples.is_empty() {
            bail!(
                "nothing is stored for {query} from {} until {}; try --from now-24h",
                range.from,
                range.until
            );
        }
        let sample_type = profile.default_sample_type.unwrap_or(profile.sample_types.len().saturating_sub(1));
        Ok(Self { pprof, profile, sample_type })
    }

    /// Unit of the values.
    pub(crate) fn unit(&self) -> &str {
        self.profile.sample_types.get(self.sample_type).map_or("", |sample_type| &sample_type.unit)
    }

    /// The stacks as a tree.
    pub(crate) fn tree(&self) -> Tree {
        let (mut tree, mut stack) = (Tree::default(), Vec::new());
        for sample in 0..self.profile.samples.len() {
            stack.clear();
            for frame in self.profile.frames(sample).rev() {
                stack.push(tree.intern(&self.profile.symbols.name(frame)));
            }
            let value = self.profile.values(sample).get(self.sample_type).copied().unwrap_or_default();
            tree.insert(stack.iter().copied(), value);
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_of_a_file_says_its_form() {
        use super::Form;
        for (name, expect) in [
            ("a/cpu.SVG", Form::Svg),
            ("cpu.speedscope.json", Form::Speedscope),
            ("cpu.json", Form::Json),
            ("cpu.dot", Form::Dot),
            ("cpu.collapsed", Form::Folded),
            ("cpu.txt", Form::Text),
            ("cpu.pb.gz", Form::Pprof),
            ("svg", Form::Pprof),
        ] {
            assert_eq!(Form::of(name.as_ref()), expect, "{name}");
        }
    }

    #[test]
    fn queries() {
        for (text, expect) in [
            ("shop", r#"T{service_name="shop"}"#),
            (r#"{service_name="shop"}"#, r#"T{service_name="shop"}"#),
            ("{}", "T{}"),
            ("memory:inuse_space:bytes:space:bytes", "memory:inuse_space:bytes:space:bytes{}"),
            (r#"a:b:c:d:e{x="y"}"#, r#"a:b:c:d:e{x="y"}"#),
        ] {
            assert_eq!(super::query(text, "T").unwrap(), expect);
        }
        assert!(super::query("service_name=\"x\"", "T").unwrap_err().to_string().contains("neither"));
    }
}
