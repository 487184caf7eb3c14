// The source file of a function, with what each line used beside it.

import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef } from "react";
import { ApiError, getJson } from "../api/client";
import { rawProfile } from "../api/queries";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { type FileWeights, fileWeights, firstLook, type LineWeight } from "../profile/lines";
import { formatShare, formatValue } from "../profile/units";
import { Failure } from "../shell/Failure";
import { text } from "../text";
import "./source.css";
import { type Code, useRevision } from "./use-code";

const ROW_HEIGHT = 20;

interface Props {
  code: Code;
  name: string;
  sampleUnit: string;
  /** What the whole profile used. */
  whole: number;
}

export function SourceView({ code, name, sampleUnit, whole }: Props) {
  const { type, selector, range, service } = code;
  const raw = useQuery(`lines ${type} ${selector} ${range.from} ${range.until}`, (signal) => rawProfile(type, selector, range, signal));
  const weights = useMemo(() => (raw.data ? fileWeights(raw.data, name) : undefined), [raw.data, name]);
  const { known, revision } = useRevision(code);
  const params = new URLSearchParams({ service, file: weights?.file ?? "", function: name, revision });
  const file = useQuery(weights && weights.file !== "" && known ? `source-file ${params}` : null, (signal) => getJson("/api/v1/source/file", signal, params));
  if (raw.error) return <Failure error={raw.error} />;
  if (!weights) return <div className="skeleton page-skeleton" />;
  if (weights.file === "") return <p className="notice">{text.source.noFile(visible(name))}</p>;
  if (file.error instanceof ApiError && file.error.status === 404) {
    return (
      <div className="source">
        <p className="notice">{file.error.message}</p>
        <Lines weights={weights} whole={whole} sampleUnit={sampleUnit} name={name} content={null} />
      </div>
    );
  }
  if (file.error) return <Failure error={file.error} />;
  if (!file.data) return <div className="skeleton page-skeleton" />;
  const { path, url, exact, content } = file.data;
  const commit = /^[0-9a-f]{40,}$/.test(file.data.revision) ? file.data.revision.slice(0, 10) : file.data.revision;
  return (
    <div className="source" aria-busy={file.stale || raw.stale}>
      <p className="source-head">
        <strong className="mono">{visible(path)}</strong> <span className="soft mono">{visible(commit)}</span>
        {/^https?:/.test(url) && (
          <a href={url} target="_blank" rel="noreferrer noopener">
            {text.source.open}
          </a>
        )}
      </p>
      {!exact && <p className="notice">{text.source.otherRevision(visible(revision), visible(commit))}</p>}
      <Lines weights={weights} whole={whole} sampleUnit={sampleUnit} name={name} content={content} />
    </div>
  );
}

interface LinesProps {
  weights: FileWeights;
  whole: number;
  sampleUnit: string;
  name: string;
  /** Without it the weights stand alone. */
  content: string | null;
}

interface Row {
  line: number;
  code: string;
  weight: LineWeight | undefined;
}

function Lines({ weights, whole, sampleUnit, name, content }: LinesProps) {
  const body = useRef<HTMLDivElement>(null);
  const rows = useMemo((): Row[] => {
    if (content === null) return [...weights.lines].sort(([a], [b]) => a - b).map(([line, weight]) => ({ line, code: "", weight }));
    return content
      .replace(/\r?\n$/, "")
      .split(/\r?\n/)
      .map((code, i) => ({ line: i + 1, code, weight: weights.lines.get(i + 1) }));
  }, [content, weights]);
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => body.current, estimateSize: () => ROW_HEIGHT, overscan: 20 });
  const look = firstLook(weights);
  useEffect(() => {
    const index = rows.findIndex((row) => row.line >= look);
    if (index >= 0) virtual.scrollToIndex(index, { align: "center" });
  }, [rows, name]);
  const amount = (value: number | undefined) => (value ? formatValue(value, sampleUnit) : "");
  return (
    <div role="table" aria-label={text.source.label} aria-rowcount={rows.length + 1} className="source-table mono">
      <div role="rowgroup">
        <div role="row" className="source-row source-top">
          <span role="columnheader">{text.source.line}</span>
          <span role="columnheader">{text.table.self}</span>
          <span role="columnheader">{text.table.total}</span>
          <span role="columnheader">{text.source.code}</span>
        </div>
      </div>
      <div ref={body} className="source-body" role="rowgroup" tabIndex={0} aria-label={text.source.label}>
        <div role="presentation" className="source-lines" style={{ height: `${virtual.getTotalSize()}px` }}>
          {virtual.getVirtualItems().map((item) => {
            const { line, code, weight } = rows[item.index]!;
            const share = weight && whole > 0 ? weight.total / whole : 0;
            return (
              <div
                key={line}
                role="row"
                aria-rowindex={item.index + 2}
                className={`source-row${weight?.own ? " own" : ""}`}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <span role="cell" className="soft">
                  {line}
                </span>
                <span role="cell">{amount(weight?.self)}</span>
                <span role="cell" className="source-total" title={weight ? formatShare(share) : undefined}>
                  {share > 0 && <span className="top-bar" style={{ width: `${Math.min(100, share * 100)}%` }} />}
                  {amount(weight?.total)}
                </span>
                <span role="cell" className="source-code">
                  {code.split("\t").map(visible).join("\t")}
                </span>
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}
