import { visible } from "../flamegraph/label";
import { type Flame, nameOf, pathTo, ROOT, shareOf } from "../profile/flame";
import { splitSymbol } from "../profile/symbol";
import { formatShare, formatValue } from "../profile/units";
import { text } from "../text";

/** Of a long path the last steps; the flame graph above the zoomed node shows the others. */
const MOST_STEPS = 4;

interface Props {
  flame: Flame;
  zoomed: number;
  sampleUnit: string;
  onZoom: (node: number) => void;
}

export function Breadcrumb({ flame, zoomed, sampleUnit, onZoom }: Props) {
  const path = pathTo(flame, zoomed).slice(1);
  const shown = path.slice(-MOST_STEPS);
  const total = flame.total[zoomed]!;
  return (
    <nav className="breadcrumb" aria-label={text.flame.breadcrumb}>
      {zoomed === ROOT ? (
        <span>{text.flame.root}</span>
      ) : (
        <button type="button" className="button quiet" onClick={() => onZoom(ROOT)}>
          {text.flame.reset}
        </button>
      )}
      {path.length > shown.length && <span className="soft">…</span>}
      {shown.map((node) => (
        <span key={node} className="breadcrumb-step">
          <span className="soft" aria-hidden="true">
            ›
          </span>
          <button type="button" className="button quiet mono" title={visible(nameOf(flame, node))} aria-current={node === zoomed} onClick={() => onZoom(node)}>
            {visible(splitSymbol(nameOf(flame, node)).short)}
          </button>
        </span>
      ))}
      <span className="soft">
        {flame.sides
          ? `${formatValue(flame.sides.before.total[zoomed]!, sampleUnit)} → ${formatValue(flame.sides.after.total[zoomed]!, sampleUnit)}`
          : formatValue(total, sampleUnit)}
        {!flame.sides && zoomed !== ROOT && ` (${formatShare(shareOf(flame, total))})`}
      </span>
    </nav>
  );
}
