import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef, useState } from "react";
import { visible } from "../flamegraph/label";
import { text } from "../text";
import { cellText, kindOfColumn, sorted, type SqlResult, type SqlSort } from "./result";

const ROW_HEIGHT = 28;
/** Least widths of columns, and what lies between them. */
const NUMBER_PX = 104;
const TEXT_PX = 168;
const GAP_PX = 16;

/** Only the rows in sight are there; a header sorts. */
export function ResultTable({ result }: { result: SqlResult }) {
  const [sort, setSort] = useState<SqlSort | null>(null);
  const body = useRef<HTMLDivElement>(null);
  const rows = useMemo(() => sorted(result, sort), [result, sort]);
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => body.current, estimateSize: () => ROW_HEIGHT, overscan: 8 });
  const columns = result.columns.map(({ name, type }) => ({ name, isNumber: kindOfColumn(type) === "number" }));
  // Rows are grids of their own, so that all must be of one width for their columns to stand in line.
  const least = columns.reduce((sum, { isNumber }) => sum + (isNumber ? NUMBER_PX : TEXT_PX) + GAP_PX, 0);
  const grid = {
    gridTemplateColumns: columns.map(({ isNumber }) => (isNumber ? `minmax(${NUMBER_PX}px, 1fr)` : `minmax(${TEXT_PX}px, 3fr)`)).join(" "),
    width: `max(100%, ${least}px)`,
  };
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
