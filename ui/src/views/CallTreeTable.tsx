// The call tree as a table: who calls whom, the heaviest first, opened along the hot path.

import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, type MouseEvent, useEffect, useMemo, useRef, useState } from "react";
import { visible } from "../flamegraph/label";
import { Menu, type MenuItem } from "../flamegraph/Menu";
import { type Flame, nameOf, pathTo, shareOf } from "../profile/flame";
import type { SearchResult } from "../profile/search";
import { splitSymbol } from "../profile/symbol";
import { hotPath, treeRows } from "../profile/tree-rows";
import { formatShare, formatValue } from "../profile/units";
import { text } from "../text";

const ROW_HEIGHT = 28;
/** Deeper rows are not indented further, or their names would leave the table. */
const MOST_INDENT = 40;

interface Props {
  flame: Flame;
  sampleUnit: string;
  search: SearchResult | null;
  selected: number;
  onSelect: (name: number) => void;
  actions: (node: number) => MenuItem[];
}

export function CallTreeTable({ flame, sampleUnit, search, selected, onSelect, actions }: Props) {
  const [open, setOpen] = useState<ReadonlySet<number>>(() => opened(flame, selected));
  const [active, setActive] = useState(0);
  const [menu, setMenu] = useState<{ node: number; x: number; y: number } | null>(null);
  const body = useRef<HTMLDivElement>(null);
  useEffect(() => setOpen(opened(flame, selected)), [flame]);
  const rows = useMemo(() => treeRows(flame, open), [flame, open]);
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => body.current, estimateSize: () => ROW_HEIGHT, overscan: 8 });

  const toggle = (node: number) => {
    const next = new Set(open);
    if (!next.delete(node)) {
      next.add(node);
      for (const below of hotPath(flame, node)) next.add(below);
    }
    setOpen(next);
  };
  const goTo = (index: number) => {
    const at = Math.max(0, Math.min(rows.length - 1, index));
    setActive(at);
    virtual.scrollToIndex(at);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const row = rows[active];
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowDown") goTo(active + 1);
    else if (event.key === "ArrowUp") goTo(active - 1);
    else if (event.key === "Home") goTo(0);
    else if (event.key === "End") goTo(rows.length - 1);
    else if (event.key === "ArrowRight" && row.hasChildren) row.isOpen ? goTo(active + 1) : toggle(row.node);
    else if (event.key === "ArrowLeft") {
      if (row.isOpen) toggle(row.node);
      else goTo(rows.findIndex((each) => each.node === flame.parent[row.node]));
    } else if (event.key === "Enter" || event.key === " ") onSelect(flame.name[row.node]!);
    else return;
    event.preventDefault();
  };
  const openMenu = (event: MouseEvent, node: number) => {
    event.preventDefault();
    setMenu({ node, x: event.clientX, y: event.clientY });
  };

  return (
    <div className="top-table">
      <div className="top-row top-head" aria-hidden="true">
        <div>{text.table.name}</div>
        <div>{text.table.total}</div>
        <div>{text.table.self}</div>
      </div>
      <div
        ref={body}
        className="top-body"
        role="tree"
        aria-label={text.tree.label}
        aria-activedescendant={rows[active] ? `row-${rows[active].node}` : undefined}
        tabIndex={0}
        onKeyDown={onKeyDown}
      >
        <div role="presentation" style={{ height: `${virtual.getTotalSize()}px`, position: "relative" }}>
          {virtual.getVirtualItems().map((item) => {
            const row = rows[item.index]!;
            const { node } = row;
            const { origin, short } = splitSymbol(nameOf(flame, node));
            const name = flame.folded[node] ? text.flame.folded : visible(short);
            const dimmed = search !== null && search.names[flame.name[node]!] === 0;
            return (
              <div
                key={node}
                id={`row-${node}`}
                role="treeitem"
                aria-level={row.level}
                aria-selected={flame.name[node] === selected}
                {...(row.hasChildren ? { "aria-expanded": row.isOpen } : {})}
                className={`top-row${item.index === active ? " active" : ""}${dimmed ? " dimmed" : ""}`}
                style={{ position: "absolute", top: 0, left: 0, right: 0, transform: `translateY(${item.start}px)` }}
                onClick={() => {
                  setActive(item.index);
                  onSelect(flame.name[node]!);
                  if (row.hasChildren) toggle(node);
                }}
                onContextMenu={(event) => openMenu(event, node)}
              >
                <div className="top-name mono" title={visible(nameOf(flame, node))} style={{ paddingLeft: `${Math.min(row.level - 1, MOST_INDENT) * 12}px` }}>
                  <span className="tree-toggle" aria-hidden="true">
                    {row.hasChildren ? (row.isOpen ? "▾" : "▸") : ""}
                  </span>
                  {name}
                  {origin !== "" && <span className="soft">{visible(origin)}</span>}
                </div>
                <Amount value={flame.total[node]!} flame={flame} sampleUnit={sampleUnit} />
                <Amount value={flame.self[node]!} flame={flame} sampleUnit={sampleUnit} />
              </div>
            );
          })}
        </div>
      </div>
      {menu && <Menu title={visible(nameOf(flame, menu.node))} items={actions(menu.node)} x={menu.x} y={menu.y} onClose={() => setMenu(null)} />}
    </div>
  );
}

function Amount({ value, flame, sampleUnit }: { value: number; flame: Flame; sampleUnit: string }) {
  const share = shareOf(flame, value);
  return (
    <div className="top-amount">
      <span className="top-bar" style={{ width: `${Math.min(100, Math.max(0, share * 100))}%` }} />
      <span>{formatValue(value, sampleUnit)}</span>
      <span className="soft">{formatShare(share)}</span>
    </div>
  );
}

/** The hot path, and the way to the heaviest node of the selected function. */
function opened(flame: Flame, selected: number): Set<number> {
  const open = new Set(hotPath(flame));
  if (selected < 0) return open;
  let best = -1;
  for (let node = 1; node < flame.name.length; node++) {
    if (flame.name[node] === selected && (best < 0 || flame.total[node]! > flame.total[best]!)) best = node;
  }
  if (best >= 0) for (const node of pathTo(flame, best).slice(0, -1)) open.add(node);
  return open;
}
