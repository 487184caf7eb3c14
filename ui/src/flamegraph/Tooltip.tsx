import { useLayoutEffect, useRef } from "react";
import type { Modules } from "../profile/pprof";
import { type Flame, nameOf, ROOT, shareOf } from "../profile/flame";
import { splitSymbol } from "../profile/symbol";
import { changeOf } from "../profile/diff";
import { formatShare, formatValue, growthName, toneOf } from "../profile/units";
import { text } from "../text";
import { frameName, isWhole, visible } from "./label";
import type { Size } from "./viewport";

const OFFSET = 14;

interface Props {
  flame: Flame;
  node: number;
  x: number;
  y: number;
  size: Size;
  zoomed: number;
  sampleUnit: string;
  modules?: Modules | undefined;
}

/** Name, self, total and shares of the node under the pointer; the tree tells the same to screen readers. */
export function Tooltip({ flame, node, x, y, size, zoomed, sampleUnit, modules }: Props) {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const left = x + OFFSET + element.offsetWidth > size.width ? x - OFFSET - element.offsetWidth : x + OFFSET;
    const top = y + OFFSET + element.offsetHeight > size.height ? y - OFFSET - element.offsetHeight : y + OFFSET;
    element.style.transform = `translate(${Math.round(Math.max(4, left))}px, ${Math.round(Math.max(4, top))}px)`;
  });

  const total = flame.total[node]!;
  const self = flame.self[node]!;
  const name = nameOf(flame, node);
  const module = modules?.get(name);
  const { origin, short } = module === undefined ? splitSymbol(name) : { origin: module, short: name };
  const zoomTotal = Math.abs(flame.total[zoomed]!);
  const folded = flame.folded[node] === 1;
  const isRoot = node === ROOT && isWhole(flame);
  const { sides } = flame;
  return (
    <div ref={box} className="flamegraph-tooltip" aria-hidden="true">
      <div className="flamegraph-tooltip-name">
        {origin === "" || folded || isRoot ? frameName(flame, node) : visible(short)}
      </div>
      {folded && <div className="soft">{text.flame.foldedExplained}</div>}
      {!folded && !isRoot && origin !== "" && <div className="soft mono">{visible(origin)}</div>}
      {sides ? (
        <dl>
          <Changed name={text.flame.total} before={sides.before.total} after={sides.after.total} node={node} sampleUnit={sampleUnit} />
          <Changed name={text.flame.self} before={sides.before.self} after={sides.after.self} node={node} sampleUnit={sampleUnit} />
        </dl>
      ) : (
      <dl>
        <dt>{text.flame.total}</dt>
        <dd>{formatValue(total, sampleUnit)}</dd>
        <dd className="soft">
          {formatShare(shareOf(flame, total))} {text.flame.share}
        </dd>
        <dt>{text.flame.self}</dt>
        <dd>{formatValue(self, sampleUnit)}</dd>
        <dd className="soft">
          {formatShare(shareOf(flame, self))} {text.flame.share}
        </dd>
        {zoomed !== ROOT && zoomTotal > 0 && (
          <>
            <dt />
            <dd>{formatShare(total / zoomTotal)}</dd>
            <dd className="soft">{text.flame.shareOfZoom}</dd>
          </>
        )}
      </dl>
      )}
    </div>
  );
}

interface ChangedProps {
  name: string;
  before: Float64Array;
  after: Float64Array;
  node: number;
  sampleUnit: string;
}

function Changed({ name, before, after, node, sampleUnit }: ChangedProps) {
  const change = changeOf(before[node]!, after[node]!);
  return (
    <>
      <dt>{name}</dt>
      <dd>
        {formatValue(change.before, sampleUnit)} → {formatValue(change.after, sampleUnit)}
      </dd>
      <dd className={toneOf(change)}>{growthName(change)}</dd>
    </>
  );
}
