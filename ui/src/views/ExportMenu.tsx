import { hexOf, PALETTES } from "../flamegraph/color";
import { coloringOf } from "../flamegraph/coloring";
import { fitLabel, visible } from "../flamegraph/label";
import { fileName, writeCsv, writeSpeedscope, writeSvg } from "../profile/exports";
import { type Flame, nameOf, shareOf } from "../profile/flame";
import { writeFolded } from "../profile/folded";
import { splitSymbol } from "../profile/symbol";
import { formatShare, formatValue } from "../profile/units";
import { canvasColors, currentTheme } from "../style/theme";
import { text } from "../text";
import type { ViewState } from "../url/state";
import { copyText, saveFile } from "./copy";
import { Popover } from "./Popover";

export interface ExportSource {
  /** What is looked at, for titles and file names. */
  title: string;
  /** Where the server has it as pprof. */
  pprof?: string;
  /** What is shown answers an earlier question; under the title of the new one nothing is saved. */
  stale?: boolean;
}

interface Props {
  /** `hasGraph`: flame graphs are on the screen, of which there can be a picture. */
  source: ExportSource & { flame: Flame; state: ViewState; sampleUnit: string; hasGraph: boolean };
}

/** Everything that is shown can be taken along. */
export function ExportMenu({ source }: Props) {
  const { flame, title, sampleUnit, pprof } = source;
  const save = (extension: string, content: BlobPart, type: string) => saveFile(fileName(title, extension), content, type);
  const items: [string, () => void][] = [
    ...(source.hasGraph ? [["PNG", () => savePng(title)] as [string, () => void]] : []),
    ["SVG", () => save("svg", svgOf(source), "image/svg+xml")],
    ["Folded", () => save("folded.txt", writeFolded(flame), "text/plain")],
    ["Speedscope", () => save("speedscope.json", writeSpeedscope(flame, title, sampleUnit), "application/json")],
    ["CSV", () => save("csv", writeCsv(flame, sampleUnit), "text/csv")],
  ];
  return (
    <Popover label={text.exports.open} disabled={source.stale === true}>
      {(close) => (
        <div className="export-menu">
          {pprof && (
            <a href={pprof} download="profile.pb.gz" onClick={close}>
              {text.explore.download}
            </a>
          )}
          {items.map(([name, run]) => (
            <button
              key={name}
              type="button"
              onClick={() => {
                close();
                run();
              }}
            >
              {text.exports.as(name)}
            </button>
          ))}
          <button
            type="button"
            onClick={() => {
              close();
              copyText(location.href);
            }}
          >
            {text.exports.link}
          </button>
        </div>
      )}
    </Popover>
  );
}

/** The graph as it stands on the screen; where there are two, both, as they lie to each other. */
function savePng(title: string): void {
  const graphs = [...document.querySelectorAll<HTMLCanvasElement>(".flamegraph-canvas")].map((canvas) => ({ canvas, box: canvas.getBoundingClientRect() }));
  const [left, top] = [Math.min(...graphs.map(({ box }) => box.left)), Math.min(...graphs.map(({ box }) => box.top))];
  const ratio = window.devicePixelRatio;
  const whole = document.createElement("canvas");
  whole.width = Math.round(Math.max(0, ...graphs.map(({ box }) => box.right - left)) * ratio);
  whole.height = Math.round(Math.max(0, ...graphs.map(({ box }) => box.bottom - top)) * ratio);
  const context = whole.getContext("2d");
  if (!context || graphs.length === 0) return;
  context.fillStyle = canvasColors().back;
  context.fillRect(0, 0, whole.width, whole.height);
  for (const { canvas, box } of graphs) context.drawImage(canvas, Math.round((box.left - left) * ratio), Math.round((box.top - top) * ratio));
  whole.toBlob((blob) => blob && saveFile(fileName(title, "png"), blob, "image/png"));
}

function svgOf({ flame, title, state, sampleUnit }: Props["source"]): string {
  const palette = PALETTES[currentTheme()];
  const coloring = coloringOf(flame, state.colors, palette);
  const fills = coloring.fills.map(hexOf);
  const describe = (node: number) => {
    const total = flame.total[node]!;
    return `${nameOf(flame, node)}, ${formatValue(total, sampleUnit)}, ${formatShare(shareOf(flame, total))}`;
  };
  return writeSvg(flame, title, {
    fill: (node) => fills[coloring.of[node]!]!,
    text: hexOf(canvasColors().text),
    back: hexOf(canvasColors().back),
    label: (node, letters) => {
      const name = nameOf(flame, node);
      return fitLabel(visible(name), splitSymbol(name).short, letters, (each) => [...each].length);
    },
    describe,
  });
}
