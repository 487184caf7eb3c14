// What the canvas shows, for those who cannot see it: the way from the root to the node that has the
// keyboard, the nodes beside it, and its children.

import { memo } from "react";
import { childrenOf, type Flame, pathTo, shareOf } from "../profile/flame";
import { changeOf } from "../profile/diff";
import { formatShare, formatValue, growthName } from "../profile/units";
import { text } from "../text";
import { frameName } from "./label";

/** Of each family the widest; a screen reader cannot use thousands. */
const MOST_SIBLINGS = 100;

export const treeItemId = (id: string, node: number) => `${id}-${node}`;

interface Props {
  id: string;
  flame: Flame;
  focused: number;
  sampleUnit: string;
  onZoom: (node: number) => void;
}

export const AccessibleTree = memo(function AccessibleTree({ id, flame, focused, sampleUnit, onZoom }: Props) {
  return (
    <div className="for-screen-readers" role="presentation">
      {shownNodes(flame, focused).map((node) => (
        <div
          key={node}
          id={treeItemId(id, node)}
          role="treeitem"
          aria-level={flame.depth[node]! + 1}
          aria-selected={node === focused}
          {...(flame.childCount[node]! > 0 ? { "aria-expanded": isOpen(flame, node, focused) } : {})}
          onClick={(event) => {
            event.stopPropagation();
            onZoom(node);
          }}
        >
          {describe(flame, node, sampleUnit)}
        </div>
      ))}
    </div>
  );
});

function isOpen(flame: Flame, node: number, focused: number): boolean {
  return pathTo(flame, focused).includes(node);
}

function shownNodes(flame: Flame, focused: number): number[] {
  const path = pathTo(flame, focused);
  const parent = flame.parent[focused]!;
  const siblings = parent < 0 ? [] : widest(flame, parent).filter((node) => node !== focused);
  return [...path, ...siblings, ...widest(flame, focused)].sort((a, b) => a - b);
}

function widest(flame: Flame, node: number): number[] {
  return childrenOf(flame, node)
    .sort((a, b) => flame.width[b]! - flame.width[a]!)
    .slice(0, MOST_SIBLINGS);
}

function describe(flame: Flame, node: number, sampleUnit: string): string {
  const name = frameName(flame, node);
  const { sides } = flame;
  if (sides) {
    const change = changeOf(sides.before.total[node]!, sides.after.total[node]!);
    return text.flame.changed(name, formatValue(change.before, sampleUnit), formatValue(change.after, sampleUnit), growthName(change));
  }
  const total = flame.total[node]!;
  return text.flame.node(name, formatValue(flame.self[node]!, sampleUnit), formatValue(total, sampleUnit), formatShare(shareOf(flame, total)));
}
