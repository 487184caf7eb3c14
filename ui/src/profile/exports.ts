// Profiles in the forms of other tools: speedscope, CSV, SVG. Folded stacks are in folded.ts.

import { childrenOf, type Flame, levelCount, nodeCount, ROOT } from "./flame";
import { topTable } from "./table";
import { unitOf } from "./units";

/** https://www.speedscope.app/file-format-schema.json, one sampled profile. */
export function writeSpeedscope(flame: Flame, title: string, sampleUnit: string): string {
  const { unit, factor } = unitOf(sampleUnit);
  const samples: number[][] = [];
  const weights: number[] = [];
  const walk: { node: number; stack: number[] }[] = [{ node: ROOT, stack: [] }];
  while (walk.length > 0) {
    const { node, stack } = walk.pop()!;
    if (node !== ROOT && flame.self[node] !== 0) {
      samples.push(stack);
      weights.push(flame.self[node]! * (unit === "duration" ? factor : 1));
    }
    for (const child of childrenOf(flame, node).reverse()) walk.push({ node: child, stack: [...stack, flame.name[child]!] });
  }
  return JSON.stringify({
    $schema: "https://www.speedscope.app/file-format-schema.json",
    exporter: "everflame",
    name: title,
    activeProfileIndex: 0,
    shared: { frames: flame.names.map((name) => ({ name })) },
    profiles: [
      {
        type: "sampled",
        name: title,
        unit: unit === "duration" ? "nanoseconds" : unit === "bytes" ? "bytes" : "none",
        startValue: 0,
        endValue: weights.reduce((sum, weight) => sum + weight, 0),
        samples,
        weights,
      },
    ],
  });
}

/** Cells that a spreadsheet would run as a formula begin with an apostrophe. */
function cell(value: string | number): string {
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function writeCsv(flame: Flame, sampleUnit: string): string {
  const rows: (string | number)[][] = [["function", `self (${sampleUnit})`, `total (${sampleUnit})`]];
  for (const row of topTable(flame).sort((a, b) => b.self - a.self)) rows.push([flame.names[row.name]!, row.self, row.total]);
  return `${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

const SVG_WIDTH = 1600;
const SVG_ROW = 18;
/** Narrower frames cannot be seen in a picture. */
const LEAST_WIDTH = 0.3;
const LETTER_WIDTH = 6.6;

/** XML 1.0 has no room for control characters and lone surrogates. */
export function escapeXml(text: string): string {
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd")
    .replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

export interface SvgLook {
  /** Hexadecimal colours, which every SVG reader knows. */
  fill: (node: number) => string;
  text: string;
  back: string;
  /** What to write into so many letters. */
  label: (node: number, letters: number) => string;
  describe: (node: number) => string;
}

/** A picture of the whole graph, as far as it can be seen; the full name and the values are in titles. */
export function writeSvg(flame: Flame, title: string, look: SvgLook): string {
  const height = levelCount(flame) * SVG_ROW + 32;
  const parts: string[] = [];
  for (let node = 0; node < nodeCount(flame); node++) {
    const width = flame.width[node]! * SVG_WIDTH;
    if (width < LEAST_WIDTH) continue;
    const x = flame.x[node]! * SVG_WIDTH;
    const y = flame.depth[node]! * SVG_ROW + 28;
    const letters = Math.floor((width - 6) / LETTER_WIDTH);
    const label = letters < 3 ? "" : look.label(node, letters);
    parts.push(
      `<g><title>${escapeXml(look.describe(node))}</title>` +
        `<rect x="${x.toFixed(2)}" y="${y}" width="${Math.max(0.2, width - 0.5).toFixed(2)}" height="${SVG_ROW - 1}" fill="${look.fill(node)}"/>` +
        (label === "" ? "" : `<text x="${(x + 3).toFixed(2)}" y="${y + 12}">${escapeXml(label)}</text>`) +
        `</g>`,
    );
  }
  return (
    `<?xml version="1.0" encoding="UTF-8"?>\n` +
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${SVG_WIDTH} ${height}" width="${SVG_WIDTH}" height="${height}" font-family="monospace" font-size="11" fill="${look.text}">` +
    `<rect width="100%" height="100%" fill="${look.back}"/><text x="4" y="18" font-size="13">${escapeXml(title)}</text>${parts.join("")}</svg>\n`
  );
}

/** The name of a downloaded file, from what was looked at. */
export function fileName(title: string, extension: string): string {
  const clean = title.normalize("NFKD").replace(/[^\w.-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 80);
  return `${clean || "profile"}.${extension}`;
}

