//! Runs statements: a session of its own for each, on its own snapshot, and threads of their own for all.
//!
//! Planning and the operators work for milliseconds at a time without a pause; beside the threads that take
//! profiles in they stand in nobody's way.

use super::answer::{SqlAnswer, collect};
use super::checks;
use super::context::Context;
use super::flame_graph::FlameGraph;
use super::rows::LakeTable;
use super::schema::{self, SqlRelation, Table};
use super::stacks::StacksTable;
use super::{functions, label_sets};
use crate::scan::Control;
use crate::{Engine, SqlError, SqlLimits};
use datafusion::catalog::TableFunction;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SessionStateDefaults, config::SessionConfig};
use datafusion::prelude::SessionContext;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How long a statement waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// Stacks of the threads: planners recurse.
const STACK_BYTES: usize = 16 << 20;
/// Rows that operators work on at a time.
const BATCH_ROWS: usize = 8_192;

/// Answers statements on the lake of an [`Engine`]. Cheap to share through an [`Arc`].
pub struct Sql {
    engine: Arc<Engine>,
    limits: SqlLimits,
    turns: Arc<Semaphore>,
    /// Started by the first statement.
    threads: OnceLock<Option<Runtime>>,
}

impl Sql {
    /// Answers on the lake of `engine`; every statement keeps within `limits`, and those of the engine on
    /// time and on what is read.
    pub fn new(engine: Arc<Engine>, limits: SqlLimits) -> Self {
        let turns = Arc::new(Semaphore::new(limits.concurrency.max(1)));
        Self { engine, limits, turns, threads: OnceLock::new() }
    }

    /// Everything that statements can read.
    pub fn schema() -> Vec<SqlRelation> {
        schema::relations()
    }

    /// The type of a column of an answer, as people write it.
    pub fn type_name(data_type: &arrow::datatypes::DataType) -> String {
        schema::type_name(data_type)
    }

    /// Answers `statement`. Dropping the future ends it.
    pub async fn query(&self, statement: &str) -> Result<SqlAnswer, SqlError> {
        let begin = Instant::now();
        checks::text(statement)?;
        let Some(threads) = self.threads.get_or_init(|| self.start()) else {
            return Err(SqlError::Internal("the threads for SQL cannot be started".to_owned()));
        };
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(SqlError::Busy(self.limits.concurrency)) };
        let control = Arc::new(self.engine.control());
        control.hold(turn);
        let (engine, limits, text) = (self.engine.clone(), self.limits.clone(), statement.to_owned());
        let shared = control.clone();
        let task = threads.spawn(async move { run(engine, shared, &limits, &text).await });
        let mut running = Running { task, control };
        let time = self.engine.limits().time;
        let done =
            tokio::time::timeout(time, &mut running.task).await.map_err(|_| SqlError::Timeout(time))?;
        let mut answer = done.map_err(|error| SqlError::Internal(error.to_string()))??;
        answer.stats.elapsed = begin.elapsed();
        Ok(answer)
    }

    fn start(&self) -> Option<Runtime> {
        let threads = self.engine.limits().threads.max(1);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("sql")
            .thread_stack_size(STACK_BYTES)
            .enable_time()
            .build();
        runtime.inspect_err(|error| tracing::error!(%error, "threads for SQL cannot be started")).ok()
    }
}

impl Drop for Sql {
    fn drop(&mut self) {
        // Waiting for its threads would block the one that drops.
        if let Some(Some(threads)) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// A statement at work; ended when nobody waits for it any more.
struct Running {
    task: JoinHandle<Result<SqlAnswer, SqlError>>,
    control: Arc<Control>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.cancel();
        self.task.abort();
    }
}

async fn run(
    engine: Arc<Engine>,
    control: Arc<Control>,
    limits: &SqlLimits,
    text: &str,
) -> Result<SqlAnswer, SqlError> {
    let context = Arc::new(Context::new(engine, control));
    let session = session(&context, limits).await?;
    let state = session.state();
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(text, &dialect)?;
    checks::statement(&statement)?;
    let plan = state.statement_to_plan(statement).await?;
    let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reading.verify_plan(&plan)?;
    let rows = session.execute_logical_plan(plan).await?.execute_stream().await?;
    let (schema, batches) = collect(rows, limits).await?;
    Ok(SqlAnswer { schema, batches, stats: context.stats(), warnings: context.warnings() })
}

/// A session that knows the tables of the lake and nothing else.
async fn session(context: &Arc<Context>, limits: &SqlLimits) -> Result<SessionContext, DataFusionError> {
    let session = SessionContext::new_with_state(state(context, limits)?);
    for table in Table::ALL {
        session.register_table(table.name(), Arc::new(LakeTable::new(table, context.clone())))?;
    }
    session.register_table("label_sets", Arc::new(label_sets::table(context.clone())))?;
    session.register_table("stacks", Arc::new(StacksTable::new(context.clone())))?;
    for (view, samples) in schema::VIEWS {
        let plan = session.sql(&schema::view(samples)).await?;
        session.register_table(view, plan.into_view())?;
    }
    functions::REFUSED.iter().for_each(|name| session.deregister_udf(name));
    functions::all().into_iter().for_each(|function| session.register_udf(function));
    Ok(session)
}

fn state(context: &Arc<Context>, limits: &SqlLimits) -> Result<SessionState, DataFusionError> {
    let threads = context.engine.limits().threads.max(1);
    let mut config = SessionConfig::new()
        .with_information_schema(true)
        .with_default_catalog_and_schema("everflame", "lake")
        .with_target_partitions(threads)
        .with_batch_size(BATCH_ROWS);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.execution.enable_recursive_ctes = false;
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(limits.memory)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    let flame_graph = Arc::new(FlameGraph(context.clone()));
    let mut functions: Vec<Arc<TableFunction>> = SessionStateDefaults::default_table_functions();
    functions.push(Arc::new(TableFunction::new("flamegraph".to_owned(), flame_graph)));
    let functions = functions.into_iter().map(|function| (function.name().to_owned(), function));
    // Neither file formats nor table factories: there is nothing to be read but the tables.
    Ok(SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(SessionStateDefaults::default_scalar_functions())
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_table_functions(functions.collect())
        .build())
}
