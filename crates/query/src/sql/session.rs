//! Runs statements: a session of its own for each, on its own snapshot, and threads of their own for all.
//!
//! Planning and the operators work for milliseconds at a time without a pause; beside the threads that take
//! profiles in they stand in nobody's way.

use super::answer::{SqlAnswer, collect};
use super::checks;
use super::context::Context;
use super::flame_graph::FlameGraph;
use super::growth::Growth;
use super::rows::{BATCH_ROWS, LakeTable};
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
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionContext;
use everflame_lake::Level;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How long a statement waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// Stacks of the threads: planners recurse.
const STACK_BYTES: usize = 16 << 20;

/// Rows that a join keeps in memory once for all threads; of more each thread has its share.
const JOINED_ROWS: usize = 1 << 20;

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
        checks::text(statement)?;
        let (engine, limits, text) = (self.engine.clone(), self.limits.clone(), statement.to_owned());
        self.run(|control| async move { run(engine, control, &limits, &text).await }).await
    }

    /// Runs `work` on the threads for SQL when its turn has come, as long as it may.
    async fn run<F: Future<Output = Result<SqlAnswer, SqlError>> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Control>) -> F,
    ) -> Result<SqlAnswer, SqlError> {
        let begin = Instant::now();
        let Some(threads) = self.threads.get_or_init(|| self.start()) else {
            return Err(SqlError::Internal("the threads for SQL cannot be started".to_owned()));
        };
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(SqlError::Busy(self.limits.concurrency)) };
        let control = Arc::new(self.engine.control());
        control.hold(turn);
        let mut running = Running { task: threads.spawn(work(control.clone())), control };
        let time = self.engine.limits().time;
        let done = tokio::time::timeout(time, &mut running.task).await;
        let done = done.map_err(|_| SqlError::Timeout(time))?;
        // A panic ends its own statement, and no other.
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
    let growth = Growth::new(&session);
    let state = session.state();
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(text, &dialect)?;
    checks::statement(&statement)?;
    let plan = state.statement_to_plan(statement).await?;
    let plan = growth.bound(plan)?;
    let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reading.verify_plan(&plan)?;
    let frame = session.execute_logical_plan(plan).await?;
    let task = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await?;
    checks::joins(plan.as_ref())?;
    let rows = execute_stream(plan, task)?;
    let (schema, batches) = collect(rows, limits).await?;
    Ok(SqlAnswer { schema, batches, stats: context.stats(), warnings: context.warnings() })
}

/// A session that knows the tables of the lake and nothing else.
async fn session(context: &Arc<Context>, limits: &SqlLimits) -> Result<SessionContext, DataFusionError> {
    let session = SessionContext::new_with_state(state(context, limits)?);
    for table in Table::all() {
        session.register_table(table.name(), Arc::new(LakeTable::new(table, context.clone())))?;
    }
    session.register_table("label_sets", Arc::new(label_sets::table(context.clone(), Level::Series)))?;
    let reduced = label_sets::table(context.clone(), Level::Service);
    session.register_table("label_sets_service", Arc::new(reduced))?;
    session.register_table("stacks", Arc::new(StacksTable::new(context.clone())))?;
    for (view, samples, label_sets) in schema::VIEWS {
        let plan = session.sql(&schema::view(samples, label_sets)).await?;
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
    // Stacks and labels go into memory once, and samples need not be sorted out among the threads.
    options.optimizer.hash_join_single_partition_threshold = limits.memory / 4;
    options.optimizer.hash_join_single_partition_threshold_rows = JOINED_ROWS;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, SqlErrorKind};
    use everflame_lake::{Lake, LakeConfig, Retention, StorageConfig};
    use everflame_profile::{Clock, Nanos};

    struct Epoch;

    impl Clock for Epoch {
        fn now(&self) -> Nanos {
            0
        }
    }

    #[tokio::test]
    async fn a_panic_ends_one_statement() {
        let folder = tempfile::tempdir().unwrap();
        let config = LakeConfig {
            path: folder.path().to_owned(),
            tenant: "anonymous".to_owned(),
            flush_interval: Duration::from_secs(3600),
            flush_bytes: 1 << 20,
            storage: StorageConfig::default(),
            retention: Retention::default(),
            retention_overrides: Vec::new(),
            instance_labels: Vec::new(),
        };
        let lake = Lake::open(config, Arc::new(Epoch)).await.unwrap();
        let engine = Arc::new(Engine::new(lake, Limits::default()));
        let sql = Sql::new(engine, SqlLimits { concurrency: 1, ..SqlLimits::default() });
        for _ in 0..3 {
            let error = sql.run(|_| async { panic!("out of turn") }).await.unwrap_err();
            assert_eq!(error.kind(), SqlErrorKind::Internal);
            assert!(error.to_string().contains("out of turn"), "{error}");
            assert_eq!(sql.query("SELECT 1").await.unwrap().rows(), 1);
        }
    }
}
