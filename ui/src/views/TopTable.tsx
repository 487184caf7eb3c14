import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef, useState } from "react";
import { visible } from "../flamegraph/label";
import { Menu, type MenuItem } from "../flamegraph/Menu";
import { type Flame, shareOf } from "../profile/flame";
import type { Modules } from "../profile/pprof";
import type { SearchResult } from "../profile/search";
import { splitSymbol } from "../profile/symbol";
import { foldedTotal, type Sort, type SortKey, sortRows, topTable } from "../profile/table";
import { formatShare, formatValue } from "../profile/units";
import { text } from "../text";

const ROW_HEIGHT = 28;

interface Props {
  flame: Flame;
  sampleUnit: string;
  modules?: Modules | undefined;
  search: SearchResult | null;
  selected: number;
  onSelect: (name: number) => void;
  actions: (name: number) => MenuItem[];
}

export function TopTable({ flame, sampleUnit, modules, search, selected, onSelect, actions }: Props) {
  const [menu, setMenu] = useState<{ name: number; x: number; y: number } | null>(null);
  const [sort, setSort] = useState<Sort>({ key: "self", descending: true });
  const body = useRef<HTMLDivElement>(null);
  const all = useMemo(() => topTable(flame), [flame]);
  const rows = useMemo(
    () => sortRows(search ? all.filter((row) => search.names[row.name]) : all, flame.names, sort),
    [all, search, sort, flame],
  );
  const folded = useMemo(() => foldedTotal(flame), [flame]);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => body.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 8,
  });
  useEffect(() => {
    body.current?.scrollTo(0, 0);
  }, [sort, search, flame]);
  // What another view selects is brought into sight; what is in sight stays where it is.
  useEffect(() => {
    const index = selected < 0 ? -1 : rows.findIndex((row) => row.name === selected);
    if (index >= 0) virtual.scrollToIndex(index);
  }, [selected]);

  const header = (key: SortKey, label: string) => (
    <div role="columnheader" aria-sort={sort.key !== key ? "none" : sort.descending ? "descending" : "ascending"}>
      <button type="button" onClick={() => setSort({ key, descending: sort.key === key ? !sort.descending : key !== "name" })}>
        {label}
        <span aria-hidden="true">{sort.key !== key ? "" : sort.descending ? " ↓" : " ↑"}</span>
      </button>
    </div>
  );

  return (
    <div className="top-table">
      <div role="table" aria-label={text.table.label} aria-rowcount={rows.length + 1} className="top-table-grid">
        <div role="rowgroup">
          <div role="row" className="top-row top-head">
            {header("name", text.table.name)}
            {header("self", text.table.self)}
            {header("total", text.table.total)}
          </div>
        </div>
        <div ref={body} className="top-body" role="rowgroup" tabIndex={0} aria-label={text.table.label}>
          <div role="presentation" style={{ height: `${virtual.getTotalSize()}px`, position: "relative" }}>
            {virtual.getVirtualItems().map((item) => {
              const row = rows[item.index]!;
              const name = flame.names[row.name]!;
              return (
                <div
                  key={row.name}
                  role="row"
                  aria-rowindex={item.index + 2}
                  className="top-row"
                  style={{ position: "absolute", top: 0, left: 0, right: 0, transform: `translateY(${item.start}px)` }}
                  onClick={() => onSelect(row.name === selected ? -1 : row.name)}
                  onContextMenu={(event) => {
                    event.preventDefault();
                    setMenu({ name: row.name, x: event.clientX, y: event.clientY });
                  }}
                >
                  <FunctionName name={name} module={modules?.get(name)} pressed={row.name === selected} />
                  <Amount value={row.self} flame={flame} sampleUnit={sampleUnit} />
                  <Amount value={row.total} flame={flame} sampleUnit={sampleUnit} />
                </div>
              );
            })}
          </div>
        </div>
      </div>
      <p className="soft top-foot">
        {text.table.rows(rows.length, all.length)}
        {folded > 0 && `. ${text.table.folded(formatValue(folded, sampleUnit), formatShare(shareOf(flame, folded)))}`}
      </p>
      {menu && <Menu title={visible(flame.names[menu.name]!)} items={actions(menu.name)} x={menu.x} y={menu.y} onClose={() => setMenu(null)} />}
    </div>
  );
}

/** The function's own name first; where it comes from follows, and is what gets cut. */
function FunctionName({ name, module, pressed }: { name: string; module: string | undefined; pressed: boolean }) {
  const { origin, short } = module === undefined ? splitSymbol(name) : { origin: module, short: name };
  return (
    <div role="cell" className="top-name mono" title={visible(module === undefined ? name : `${name} ${module}`)}>
      <button type="button" aria-pressed={pressed}>
        {visible(short)}
      </button>
      {origin !== "" && <span className="soft">{visible(origin)}</span>}
    </div>
  );
}

function Amount({ value, flame, sampleUnit }: { value: number; flame: Flame; sampleUnit: string }) {
  const share = shareOf(flame, value);
  return (
    <div role="cell" className="top-amount">
      <span className="top-bar" style={{ width: `${Math.min(100, Math.max(0, share * 100))}%` }} />
      <span>{formatValue(value, sampleUnit)}</span>
      <span className="soft">{formatShare(share)}</span>
    </div>
  );
}
