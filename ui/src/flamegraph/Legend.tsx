import { formatShare, formatValue } from "../profile/units";
import { text } from "../text";
import type { ColorMode, Coloring } from "./coloring";

/** What the colours of a scale stand for, and how the graph is moved. */
export function Legend({ mode, coloring, sampleUnit }: { mode: ColorMode; coloring: Coloring; sampleUnit: string }) {
  const { scale, fills } = coloring;
  return (
    <div className="legend soft">
      {scale && (
        <span className="legend-scale" role="img" aria-label={text.flame.legend[mode]}>
          <span>{endOf(mode, scale.low, sampleUnit)}</span>
          <span className="legend-steps">
            {fills.map((fill, i) => (
              <span key={i} style={{ background: fill }} />
            ))}
          </span>
          <span>{endOf(mode, scale.high, sampleUnit)}</span>
          <span>{text.flame.legend[mode]}</span>
        </span>
      )}
      <span className="grow" />
      <span className="legend-help">{text.flame.pointerHelp}</span>
    </div>
  );
}

function endOf(mode: ColorMode, value: number, sampleUnit: string): string {
  if (mode === "self") return formatValue(value, sampleUnit);
  return `${value > 0 ? "+" : ""}${formatShare(value)}`;
}
