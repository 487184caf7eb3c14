import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef, useState } from "react";
import { visible } from "../flamegraph/label";
import { text } from "../text";
import { cellText, kindOfColumn, sorted, type SqlResult, type SqlSort } from "./result";

const ROW_HEIGHT = 28;

/** Only the rows in sight are there; a header sorts. */
export function ResultTable({ result }: { result: SqlResult }) {
  const [sort, setSort] = useState<SqlSort | null>(null);
  const body = useRef<HTMLDivElement>(null);
  const rows = useMemo(() => sorted(result, sort), [result, sort]);
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => body.current, estimateSize: () => ROW_HEIGHT, overscan: 8 });
  const columns = result.columns.map(({ name, type }) => ({ name, isNumber: kindOfColumn(type) === "number" }));
  const grid = { gridTemplateColumns: columns.map(({ isNumber }) => (isNumber ? "minmax(112px, 1fr)" : "minmax(176px, 3fr)")).join(" ") };
  return (
    <div ref={body} className="sql-table" role="table" aria-label={text.sql.result} aria-rowcount={rows.length + 1} aria-colcount={columns.length} tabIndex={0}>
      <div role="row" className="sql-row sql-head" style={grid}>
        {columns.map(({ name, isNumber }) => {
          const mine = sort?.column === name;
          return (
            <div key={name} role="columnheader" className={isNumber ? "sql-number" : ""} aria-sort={!mine ? "none" : sort.descending ? "descending" : "ascending"}>
              <button type="button" onClick={() => setSort({ column: name, descending: mine ? !sort.descending : isNumber })}>
                {visible(name)}
                <span aria-hidden="true">{!mine ? "" : sort.descending ? " ↓" : " ↑"}</span>
              </button>
            </div>
          );
        })}
      </div>
      <div role="rowgroup" className="sql-rows" style={{ height: `${virtual.getTotalSize()}px` }}>
        {virtual.getVirtualItems().map((item) => (
          <div key={item.index} role="row" aria-rowindex={item.index + 2} className="sql-row" style={{ ...grid, transform: `translateY(${item.start}px)` }}>
            {columns.map(({ name, isNumber }) => {
              const cell = cellText(rows[item.index]![name]);
              return (
                <div key={name} role="cell" className={isNumber ? "sql-number" : "mono"} title={visible(cell)}>
                  {visible(cell)}
                </div>
              );
            })}
          </div>
        ))}
      </div>
    </div>
  );
}
