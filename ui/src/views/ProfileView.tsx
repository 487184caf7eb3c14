// One profile from all sides: flame graph, table, sandwich and call tree, with one search, one
// selection and one shape. Pages give the profile and keep the state.

import { useEffect, useMemo, useRef, useState } from "react";
import { FlameGraph } from "../flamegraph/FlameGraph";
import { type Flame, nodeCount, ROOT } from "../profile/flame";
import type { Modules } from "../profile/pprof";
import { encodePath, hashName, resolvePath } from "../profile/path";
import { type Files, isPlain, reshape } from "../profile/reshape";
import { search } from "../profile/search";
import { mostSelf } from "../profile/table";
import { SourceView } from "../source/SourceView";
import type { Code } from "../source/use-code";
import { text } from "../text";
import { VIEWS, type ViewState } from "../url/state";
import { type Go, type Links, nameActions, nodeActions } from "./actions";
import { Breadcrumb } from "./Breadcrumb";
import { CallTreeTable } from "./CallTreeTable";
import { type ExportSource, ExportMenu } from "./ExportMenu";
import { Sandwich } from "./Sandwich";
import { SearchField } from "./SearchField";
import { ShapeChips } from "./ShapeChips";
import { Options } from "./Options";
import { TopTable } from "./TopTable";
import "./views.css";

const SEARCH_SETTLES_MS = 150;

interface Props {
  flame: Flame;
  sampleUnit: string;
  state: ViewState;
  stale: boolean;
  /** A step that the back button undoes; `amend` is for letters typed. */
  go: Go;
  amend: Go;
  links: Links;
  source: ExportSource;
  files?: Files | undefined;
  /** Where the frames are that have no name. */
  modules?: Modules | undefined;
  /** Where the source code can be shown. */
  code?: Code | undefined;
}

export function ProfileView({ flame: whole, sampleUnit, state, stale, go, amend, links, source, files, modules, code }: Props) {
  const { focus, hide, merge, collapse, group } = state;
  const shapeKey = JSON.stringify([focus, hide, merge, collapse, group]);
  const flame = useMemo(() => reshape(whole, { focus, hide, merge, collapse, group }, files), [whole, shapeKey, files]);
  const { pattern, setPattern } = useTypedSearch(state.search, amend);
  const found = useMemo(() => search(flame, state.search), [flame, state.search]);
  const zoomed = useMemo(() => resolvePath(flame, state.zoom), [flame, state.zoom]);
  const selected = useMemo(() => (state.fn === "" ? -1 : flame.names.findIndex((name) => hashName(name) === state.fn)), [flame, state.fn]);
  const views = code || state.view === "source" ? VIEWS : VIEWS.filter((view) => view !== "source");
  const field = useRef<HTMLInputElement>(null);

  const select = (name: number) => go({ fn: name < 0 ? "" : hashName(flame.names[name]!) });
  const zoom = (node: number) => go({ zoom: encodePath(flame, node) });
  const table = (
    <TopTable
      flame={flame}
      sampleUnit={sampleUnit}
      modules={modules}
      search={found}
      selected={selected}
      onSelect={select}
      actions={(name) => nameActions(flame.names[name]!, state, go, links)}
    />
  );
  const shared = { flame, sampleUnit, modules, search: found, selected, colors: state.colors };
  return (
    <>
      <div className="panel-bar">
        <SearchField field={field} value={pattern} onChange={setPattern} found={found} flame={flame} />
        <span className="grow" />
        <div className="group view-switch" role="group" aria-label={text.explore.view}>
          {views.map((view) => (
            <button key={view} type="button" className="button" aria-pressed={state.view === view} onClick={() => go({ view })}>
              {text.explore.views[view]}
            </button>
          ))}
        </div>
        <Options state={state} go={go} modes={["package", "self"]} />
        <ExportMenu source={{ ...source, flame, state, sampleUnit, stale, hasGraph: ["both", "flame", "sandwich"].includes(state.view) }} />
      </div>
      {!isPlain(state) && <ShapeChips names={whole.names} state={state} go={go} />}
      {(state.view === "both" || state.view === "flame") && <Breadcrumb flame={flame} zoomed={zoomed} sampleUnit={sampleUnit} onZoom={zoom} />}
      <div className={`views ${state.view}`} aria-busy={stale} data-nodes={nodeCount(flame)}>
        {(state.view === "both" || state.view === "table" || state.view === "sandwich" || state.view === "source") && table}
        {(state.view === "both" || state.view === "flame") && (
          <FlameGraph
            {...shared}
            grows={state.grows}
            zoomed={zoomed}
            onZoom={zoom}
            onSearch={() => field.current?.focus()}
            actions={(node) => nodeActions(flame, node, state, go, links)}
          />
        )}
        {state.view === "sandwich" && <Sandwich {...shared} state={state} go={go} links={links} />}
        {state.view === "source" && <SourcePane flame={flame} whole={whole} selected={selected} code={code} sampleUnit={sampleUnit} />}
        {state.view === "tree" && (
          <CallTreeTable
            flame={flame}
            sampleUnit={sampleUnit}
            search={found}
            selected={selected}
            onSelect={select}
            actions={(node) => nodeActions(flame, node, state, go, links)}
          />
        )}
      </div>
    </>
  );
}

interface SourcePaneProps {
  flame: Flame;
  whole: Flame;
  selected: number;
  code: Code | undefined;
  sampleUnit: string;
}

/** Without a selection, the code of the function that does the most itself is shown. */
function SourcePane({ flame, whole, selected, code, sampleUnit }: SourcePaneProps) {
  const name = useMemo(() => (selected >= 0 ? selected : mostSelf(flame)), [flame, selected]);
  if (!code) return <p className="notice">{text.source.notConfigured}</p>;
  if (name < 0) return <p className="soft">{text.source.choose}</p>;
  return <SourceView code={code} name={flame.names[name]!} sampleUnit={sampleUnit} whole={whole.total[ROOT]!} />;
}

/** What is typed shows at once; the views and the URL follow when the typing rests. */
export function useTypedSearch(settled: string, amend: Go): { pattern: string; setPattern: (pattern: string) => void } {
  const [pattern, setPattern] = useState(settled);
  const write = useRef(amend);
  write.current = amend;
  useEffect(() => setPattern(settled), [settled]);
  useEffect(() => {
    if (pattern === settled) return;
    const timer = setTimeout(() => write.current({ search: pattern }), SEARCH_SETTLES_MS);
    return () => clearTimeout(timer);
  }, [pattern]);
  return { pattern, setPattern };
}
