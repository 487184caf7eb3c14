//! What a statement may be, before anybody plans it: one that reads, of bounded size, depth and growth.
//!
//! A planner works on the calling thread and outside of the memory limit, so that a short text which
//! becomes a huge plan must be stopped here: chains of operators become deep trees, and each mention of a
//! common table expression becomes a copy of it.

use crate::SqlError;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Query, Statement as Ast, Visit, Visitor, visit_relations};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Bytes that a statement may have.
const MAX_BYTES: usize = 256 << 10;
/// Operators, keywords, parentheses: whatever may make a tree deeper.
const MAX_LINKS: usize = 2_000;
/// Bytes that a text or name in a statement may have: there may be a copy of it in every row.
const MAX_WORD: usize = 4 << 10;
/// Longer ones count for [`MAX_WORDS`].
const SHORT_WORD: usize = 64;
/// Bytes that all longer texts and names may have together.
const MAX_WORDS: usize = 32 << 10;
/// Reads of tables in a plan, each mention of a common table expression replaced by what it mentions.
const MAX_TABLES: u64 = 128;

/// Refuses joins that would keep rows without any column, unless a table bounds how many there are: they weigh nothing
/// by the count of the memory limit.
pub(super) fn joins(plan: &dyn ExecutionPlan) -> Result<(), SqlError> {
    let children = plan.children();
    if is_join(plan)
        && children.first().is_some_and(|kept| kept.schema().fields().is_empty() && makes_rows(kept.as_ref()))
    {
        return Err(SqlError::TooLarge(
            "rows are joined with all others only to be counted; count each side by itself and multiply, or join them \
             ON a column"
                .to_owned(),
        ));
    }
    children.into_iter().try_for_each(|child| joins(child.as_ref()))
}

fn is_join(plan: &dyn ExecutionPlan) -> bool {
    plan.name().ends_with("JoinExec")
}

/// Whether more rows come out than tables hold: joins multiply them, and series are made of nothing.
fn makes_rows(plan: &dyn ExecutionPlan) -> bool {
    is_join(plan)
        || plan.name() == "LazyMemoryExec"
        || plan.children().into_iter().any(|child| makes_rows(child.as_ref()))
}

/// Refuses a text that is too long, or too deep to be parsed and planned.
pub(super) fn text(text: &str) -> Result<(), SqlError> {
    if text.trim().is_empty() {
        return Err(SqlError::Statement(
            "there is no statement; send one such as SELECT count(*) FROM profiles".to_owned(),
        ));
    }
    if text.len() > MAX_BYTES {
        return Err(SqlError::TooLarge(format!(
            "the statement has {} bytes, the limit is {MAX_BYTES}; ask for less at once",
            text.len()
        )));
    }
    // What is no sequence of tokens, the parser refuses with the place.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize() else { return Ok(()) };
    let words = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_)));
    let words = words.map(|token| token.to_string().len());
    let (longest, long) = words
        .filter(|&length| length > SHORT_WORD)
        .fold((0, 0), |(longest, sum), length| (length.max(longest), length + sum));
    if longest > MAX_WORD || long > MAX_WORDS {
        return Err(SqlError::TooLarge(format!(
            "the statement has a text or name of {longest} bytes, and {long} bytes in all that are longer than {SHORT_WORD}; the limits are {MAX_WORD} and {MAX_WORDS}"
        )));
    }
    let links = tokens.iter().filter(|token| links(token)).count();
    if links > MAX_LINKS {
        return Err(SqlError::TooLarge(format!(
            "the statement has {links} operators and keywords, the limit is {MAX_LINKS}; use IN (…) for lists, or ask in parts"
        )));
    }
    Ok(())
}

fn links(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_none() && word.keyword != NO_KEYWORD,
        Token::Whitespace(_)
        | Token::Comma
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::HexStringLiteral(_)
        | Token::Period
        | Token::RParen
        | Token::EOF
        | Token::SemiColon => false,
        _ => true,
    }
}

const NO_KEYWORD: datafusion::sql::sqlparser::keywords::Keyword =
    datafusion::sql::sqlparser::keywords::Keyword::NoKeyword;

/// Refuses what does more than read, and what would grow too far when it is planned.
pub(super) fn statement(statement: &Statement) -> Result<(), SqlError> {
    match statement {
        Statement::Explain(explain) => self::statement(&explain.statement),
        Statement::Statement(ast) => reads(ast),
        Statement::CreateExternalTable(_) => Err(refused("CREATE EXTERNAL TABLE")),
        Statement::CopyTo(_) => Err(refused("COPY")),
        Statement::Reset(_) => Err(refused("RESET")),
    }
}

fn reads(ast: &Ast) -> Result<(), SqlError> {
    match ast {
        Ast::Explain { statement, .. } => reads(statement),
        Ast::Query(_) => grows(ast),
        Ast::ExplainTable { .. }
        | Ast::ShowTables { .. }
        | Ast::ShowColumns { .. }
        | Ast::ShowFunctions { .. }
        | Ast::ShowVariable { .. } => Ok(()),
        other => {
            let text = other.to_string();
            let verb = text.split_whitespace().next().unwrap_or("this");
            Err(refused(&verb.to_uppercase()))
        }
    }
}

fn refused(what: &str) -> SqlError {
    SqlError::Statement(format!(
        "{what} is not allowed: SQL only reads here; use SELECT, EXPLAIN, SHOW or DESCRIBE"
    ))
}

fn grows(ast: &Ast) -> Result<(), SqlError> {
    let mut weights = Weights::default();
    let _ = ast.visit(&mut weights);
    let tables = weights.of(ast);
    if tables > MAX_TABLES {
        return Err(SqlError::TooLarge(format!(
            "the statement reads {tables} tables, each mention of a common table expression counted as what it reads; the limit is {MAX_TABLES}"
        )));
    }
    Ok(())
}

/// For each common table expression how many reads of tables a mention of it becomes.
#[derive(Default)]
struct Weights(HashMap<String, u64>);

impl Weights {
    fn of(&self, part: &impl Visit) -> u64 {
        let mut sum = 0u64;
        let _ = visit_relations(part, |name| {
            let weight = self.0.get(&name.to_string().to_lowercase()).copied().unwrap_or(1);
            sum = sum.saturating_add(weight);
            ControlFlow::<()>::Continue(())
        });
        sum
    }
}

impl Visitor for Weights {
    type Break = ();

    /// Inner queries come first, so that what an expression mentions is known.
    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for expression in query.with.iter().flat_map(|with| &with.cte_tables) {
            let weight = self.of(expression.query.as_ref()).max(1);
            let name = expression.alias.name.to_string().to_lowercase();
            let known = self.0.entry(name).or_default();
            *known = weight.max(*known);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqlErrorKind;
    use datafusion::sql::parser::DFParser;

    fn check(sql: &str) -> Result<(), SqlError> {
        text(sql)?;
        let statements = DFParser::parse_sql(sql).unwrap();
        statements.iter().try_for_each(statement)
    }

    #[test]
    fn reading_is_allowed_and_nothing_else() {
        for sql in [
            "SELECT 1",
            "EXPLAIN SELECT * FROM samples",
            "EXPLAIN ANALYZE SELECT 1",
            "SHOW TABLES",
            "SHOW COLUMNS FROM samples",
            "DESCRIBE samples",
            "WITH a AS (SELECT 1) SELECT * FROM a",
        ] {
            assert!(check(sql).is_ok(), "{sql}");
        }
        for sql in [
            "CREATE TABLE t (a INT)",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
            "CREATE VIEW v AS SELECT 1",
            "INSERT INTO samples VALUES (1)",
            "DELETE FROM samples",
            "UPDATE samples SET value = 1",
            "DROP TABLE samples",
            "COPY samples TO '/tmp/x.csv'",
            "SET datafusion.execution.batch_size = 1",
            "RESET datafusion.execution.batch_size",
            "EXPLAIN INSERT INTO samples VALUES (1)",
            "PREPARE p AS SELECT 1",
            "BEGIN",
        ] {
            let error = check(sql).unwrap_err();
            assert_eq!(error.kind(), SqlErrorKind::Statement, "{sql}");
            assert!(error.to_string().contains("only reads here"), "{sql}: {error}");
        }
    }

    #[test]
    fn growth_is_bounded() {
        let doubled = (1..40).fold("WITH c0 AS (SELECT 1 AS x)".to_owned(), |sql, at| {
            format!("{sql}, c{at} AS (SELECT * FROM c{0} UNION ALL SELECT * FROM c{0})", at - 1)
        });
        let chain = format!("SELECT {}", vec!["1"; 5_000].join("+"));
        for sql in [format!("{doubled} SELECT * FROM c39"), chain] {
            assert_eq!(check(&sql).unwrap_err().kind(), SqlErrorKind::TooLarge);
        }
        let list = format!("SELECT 1 IN ({})", vec!["1"; 5_000].join(","));
        assert!(check(&list).is_ok());
        assert!(check(" ").is_err());
    }
}
