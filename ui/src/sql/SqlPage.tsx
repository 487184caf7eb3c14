// Statements over everything that is stored: written, run, shown as a table or a chart, taken along as CSV.

import { type KeyboardEvent, useEffect, useState } from "react";
import { ApiError, getJson, postJson } from "../api/client";
import type { SqlAnswer, SqlSchema } from "../api/openapi";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { Failure } from "../shell/Failure";
import { text } from "../text";
import { useSearch, visit } from "../url/navigation";
import { readSql, SQL_SHOWS, sqlUrl } from "../url/state";
import { saveFile } from "../views/copy";
import { type Example, EXAMPLES } from "./examples";
import { chartOf, csvOf } from "./result";
import { ResultChart } from "./ResultChart";
import { ResultTable } from "./ResultTable";
import "./sql.css";

/** What a server answers whose build has no SQL, or that is older than it. */
const ABSENT = [404, 405, 501];

async function run(query: string, signal: AbortSignal): Promise<SqlAnswer | null> {
  try {
    return await postJson("/api/v1/sql", { query }, signal);
  } catch (error) {
    if (error instanceof ApiError && ABSENT.includes(error.status)) return null;
    throw error;
  }
}

export function SqlPage() {
  const state = readSql(useSearch());
  const [typed, setTyped] = useState(state.query || EXAMPLES.services);
  const [runs, setRuns] = useState(0);
  useEffect(() => {
    document.title = `${text.sql.title} · ${text.product}`;
  }, []);
  useEffect(() => {
    if (state.query !== "") setTyped(state.query);
  }, [state.query]);
  const schema = useQuery("sql-schema", async (signal) => {
    try {
      return await getJson("/api/v1/sql/schema", signal);
    } catch (error) {
      if (error instanceof ApiError && ABSENT.includes(error.status)) return null;
      throw error;
    }
  });
  const asked = `sql ${runs} ${state.query}`;
  const [stopped, setStopped] = useState("");
  const isStopped = stopped === asked;
  const answer = useQuery(state.query === "" || isStopped ? null : asked, (signal) => run(state.query, signal));
  const start = (query = typed) => {
    if (query.trim() === "") return;
    setTyped(query);
    setRuns((count) => count + 1);
    visit(sqlUrl({ ...state, query }));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    start();
  };
  const absent = schema.data === null || answer.data === null;
  const result = state.query === "" || isStopped ? undefined : answer.data;
  const running = answer.loading;
  return (
    <main className="page">
      <h1>{text.sql.title}</h1>
      {absent ? (
        <p className="notice">
          <strong>{text.sql.absent}</strong> {text.sql.absentHint}
        </p>
      ) : (
        <>
          <section className="panel" aria-label={text.sql.statement}>
            <textarea
              className="sql-statement mono"
              aria-label={text.sql.statement}
              spellCheck={false}
              rows={Math.min(16, Math.max(6, typed.split("\n").length + 1))}
              value={typed}
              onChange={(event) => setTyped(event.target.value)}
              onKeyDown={onKeyDown}
            />
            <div className="panel-bar">
              <button type="button" className="button primary" onClick={() => start()} disabled={typed.trim() === ""}>
                {text.sql.run}
                <span className="sql-keys">Ctrl ↵</span>
              </button>
              {running && (
                <button type="button" className="button" onClick={() => setStopped(asked)}>
                  {text.sql.stop}
                </button>
              )}
              <span className="soft" role="status">
                {running ? text.sql.running : isStopped ? text.sql.stopped : ""}
              </span>
              <select
                className="select"
                aria-label={text.sql.examples}
                value=""
                onChange={(event) => {
                  const chosen = EXAMPLES[event.target.value as Example];
                  if (chosen) start(chosen);
                }}
              >
                <option value="">{text.sql.examples}</option>
                {(Object.keys(EXAMPLES) as Example[]).map((each) => (
                  <option key={each} value={each}>
                    {text.sql.exampleNames[each]}
                  </option>
                ))}
              </select>
            </div>
            {schema.data?.tables && <Tables tables={schema.data.tables} />}
          </section>
          {answer.error && <Failure error={answer.error} />}
          {running && !result && <div className="skeleton page-skeleton" />}
          {result && !answer.error && <Result result={result} state={state} stale={running} />}
        </>
      )}
    </main>
  );
}

function Result({ result, state, stale }: { result: SqlAnswer; state: ReturnType<typeof readSql>; stale: boolean }) {
  const chart = chartOf(result);
  return (
    <section className="panel" aria-label={text.sql.result} aria-busy={stale}>
      <div className="panel-bar">
        <h2>{text.sql.rows(result.rowCount)}</h2>
        <span className="soft">{text.sql.cost(result.milliseconds, result.scanned.rows)}</span>
        <span className="grow" />
        <div className="group" role="group" aria-label={text.explore.view}>
          {SQL_SHOWS.map((show) => (
            <button key={show} type="button" className="button" aria-pressed={state.show === show} onClick={() => visit(sqlUrl({ ...state, show }))}>
              {text.sql.shows[show]}
            </button>
          ))}
        </div>
        <button type="button" className="button" onClick={() => saveFile("result.csv", csvOf(result), "text/csv")}>
          {text.exports.as("CSV")}
        </button>
      </div>
      {result.warnings.map((warning) => (
        <p key={warning} className="notice failed" role="status">
          {warning}
        </p>
      ))}
      {state.show === "chart" && chart ? <ResultChart result={result} chart={chart} /> : null}
      {state.show === "chart" && !chart && <p className="soft">{text.sql.noChart}</p>}
      {state.show === "table" && <ResultTable result={result} />}
    </section>
  );
}

function Tables({ tables }: { tables: SqlSchema["tables"] }) {
  return (
    <details className="sql-tables">
      <summary>{text.sql.tables(tables.length)}</summary>
      <dl>
        {tables.map(({ name, description, columns }) => (
          <div key={name}>
            <dt className="mono">{visible(name)}</dt>
            <dd>
              {description}
              <p className="soft mono">{columns.map((column) => `${column.name} ${column.type}`).join(", ")}</p>
            </dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
