import { useVirtualizer } from "@tanstack/react-virtual";
import { type MouseEvent, useMemo, useRef, useState } from "react";
import { visible } from "../flamegraph/label";
import { Menu, type MenuItem } from "../flamegraph/Menu";
import { type DiffRow, diffTable, type Scale } from "../profile/diff";
import { type Flame, shareOf } from "../profile/flame";
import type { SearchResult } from "../profile/search";
import { splitSymbol } from "../profile/symbol";
import { formatShare, formatValue, growthName } from "../profile/units";
import { text } from "../text";

const ROW_HEIGHT = 28;
/** Fewer standard deviations than these happen by chance now and then, or often. */
const CERTAIN = 4;
const LIKELY = 2;

type Key = "name" | "before" | "after" | "delta" | "selfDelta" | "growth" | "sigma";

interface Props {
  flame: Flame;
  sampleUnit: string;
  weight: Scale;
  search: SearchResult | null;
  selected: number;
  onSelect: (name: number) => void;
  actions: (name: number) => MenuItem[];
}

/** Functions by how much they changed. */
export function DiffTable({ flame, sampleUnit, weight, search, selected, onSelect, actions }: Props) {
  const [sort, setSort] = useState<{ key: Key; descending: boolean }>({ key: "selfDelta", descending: true });
  const [menu, setMenu] = useState<{ name: number; x: number; y: number } | null>(null);
  const body = useRef<HTMLDivElement>(null);
  const all = useMemo(() => diffTable(flame, weight), [flame, weight.before, weight.after]);
  const rows = useMemo(() => {
    const kept = search ? all.filter((row) => search.names[row.name]) : [...all];
    const sign = sort.descending ? -1 : 1;
    const value = (row: DiffRow) => valueOf(row, sort.key);
    const byName = (a: DiffRow, b: DiffRow) => (flame.names[a.name]! < flame.names[b.name]! ? -1 : 1);
    return kept.sort((a, b) => (sort.key === "name" ? sign * byName(a, b) : sign * (value(a) - value(b)) || byName(a, b)));
  }, [all, search, sort, flame]);
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => body.current, estimateSize: () => ROW_HEIGHT, overscan: 8 });

  const header = (key: Key, className = "") => (
    <div role="columnheader" className={className} aria-sort={sort.key !== key ? "none" : sort.descending ? "descending" : "ascending"}>
      <button type="button" onClick={() => setSort({ key, descending: sort.key === key ? !sort.descending : key !== "name" })}>
        {text.compare.columns[key]}
        <span aria-hidden="true">{sort.key !== key ? "" : sort.descending ? " ↓" : " ↑"}</span>
      </button>
    </div>
  );
  const openMenu = (event: MouseEvent, name: number) => {
    event.preventDefault();
    setMenu({ name, x: event.clientX, y: event.clientY });
  };
  return (
    <div className="top-table">
      <div role="table" aria-label={text.compare.table} aria-rowcount={rows.length + 1}>
        <div role="rowgroup">
          <div role="row" className="diff-row top-head">
            {header("name")}
            {header("selfDelta")}
            {header("delta")}
            {header("growth", "wide-only")}
            {header("before", "wide-only")}
            {header("after", "wide-only")}
            {header("sigma", "wide-only")}
          </div>
        </div>
        <div ref={body} className="top-body" role="rowgroup" tabIndex={0} aria-label={text.compare.table}>
          <div role="presentation" style={{ height: `${virtual.getTotalSize()}px`, position: "relative" }}>
            {virtual.getVirtualItems().map((item) => {
              const row = rows[item.index]!;
              const name = flame.names[row.name]!;
              const { origin, short } = splitSymbol(name);
              return (
                <div
                  key={row.name}
                  role="row"
                  aria-rowindex={item.index + 2}
                  className="top-row diff-row"
                  style={{ position: "absolute", top: 0, left: 0, right: 0, transform: `translateY(${item.start}px)` }}
                  onClick={() => onSelect(row.name === selected ? -1 : row.name)}
                  onContextMenu={(event) => openMenu(event, row.name)}
                >
                  <div role="cell" className="top-name mono" title={visible(name)}>
                    <button type="button" aria-pressed={row.name === selected}>
                      {visible(short)}
                    </button>
                    {origin !== "" && <span className="soft">{visible(origin)}</span>}
                  </div>
                  <Delta value={row.self.delta} flame={flame} sampleUnit={sampleUnit} />
                  <Delta value={row.total.delta} flame={flame} sampleUnit={sampleUnit} />
                  <div role="cell" className={`wide-only ${tone(row.total.delta)}`}>
                    {growthName(row.total)}
                  </div>
                  <div role="cell" className="wide-only">
                    {formatValue(row.total.before, sampleUnit)}
                  </div>
                  <div role="cell" className="wide-only">
                    {formatValue(row.total.after, sampleUnit)}
                  </div>
                  <div role="cell" className="wide-only soft">
                    {text.compare.certainty(row.self.delta === 0 ? "none" : row.sigma >= CERTAIN ? "certain" : row.sigma >= LIKELY ? "likely" : "chance")}
                  </div>
                </div>
              );
            })}
          </div>
        </div>
      </div>
      <p className="soft top-foot">{text.table.rows(rows.length, all.length)}</p>
      {menu && <Menu title={visible(flame.names[menu.name]!)} items={actions(menu.name)} x={menu.x} y={menu.y} onClose={() => setMenu(null)} />}
    </div>
  );
}

function valueOf(row: DiffRow, key: Key): number {
  switch (key) {
    case "before":
      return row.total.before;
    case "after":
      return row.total.after;
    case "delta":
      return row.total.delta;
    case "selfDelta":
      return row.self.delta;
    case "growth":
      return row.total.growth ?? Number.MAX_VALUE;
    case "sigma":
      return row.sigma;
    case "name":
      return 0;
  }
}

const tone = (delta: number) => (delta > 0 ? "more" : delta < 0 ? "less" : "soft");

function Delta({ value, flame, sampleUnit }: { value: number; flame: Flame; sampleUnit: string }) {
  // Half of the width of a graph that holds both sides is one side.
  const share = shareOf(flame, value) * 2;
  return (
    <div role="cell" className={`top-amount ${tone(value)}`}>
      <span>
        {value > 0 ? "+" : ""}
        {formatValue(value, sampleUnit)}
      </span>
      <span className="soft">
        {share > 0 ? "+" : ""}
        {formatShare(share)}
      </span>
    </div>
  );
}
