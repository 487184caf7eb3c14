import { useMemo, useRef } from "react";
import { FlameGraph } from "../flamegraph/FlameGraph";
import { changeOf, sampleWeight, type Scale } from "../profile/diff";
import { type Flame, nodeCount, ROOT } from "../profile/flame";
import { encodePath, hashName, resolvePath } from "../profile/path";
import { isPlain, reshape } from "../profile/reshape";
import { search } from "../profile/search";
import { isLevel, perSecond, type ProfileType, rateOf } from "../profile/profile-type";
import { formatRate, formatValue, growthName, toneOf } from "../profile/units";
import { text } from "../text";
import { type CompareState, LAYOUTS } from "../url/state";
import { type Go, type Links, nameActions, nodeActions } from "../views/actions";
import { Breadcrumb } from "../views/Breadcrumb";
import { ExportMenu } from "../views/ExportMenu";
import { Options } from "../views/Options";
import { useTypedSearch } from "../views/ProfileView";
import { SearchField } from "../views/SearchField";
import { ShapeChips } from "../views/ShapeChips";
import "../views/views.css";
import { DiffTable } from "./DiffTable";
import { SidesView } from "./SidesView";

interface Props {
  /** Both sides as one graph. */
  flame: Flame;
  before: Flame;
  after: Flame;
  scale: Scale;
  /** How long each side was measured, in milliseconds, where that is known. */
  measured?: { before: number; after: number; type: ProfileType } | undefined;
  sampleUnit: string;
  state: CompareState;
  stale: boolean;
  go: (change: Partial<CompareState>) => void;
  amend: Go;
  title: string;
  links?: Links;
}

export function DiffView({ flame: whole, before, after, scale, measured, sampleUnit, state, stale, go, amend, title, links = {} }: Props) {
  const { focus, hide, merge, collapse, group } = state;
  const shapeKey = JSON.stringify([focus, hide, merge, collapse, group]);
  const flame = useMemo(() => reshape(whole, { focus, hide, merge, collapse, group }), [whole, shapeKey]);
  const weight = useMemo(() => ({ before: sampleWeight(before, sampleUnit) * scale.before, after: sampleWeight(after, sampleUnit) * scale.after }), [before, after, scale]);
  const { pattern, setPattern } = useTypedSearch(state.search, amend);
  const found = useMemo(() => search(flame, state.search), [flame, state.search]);
  const zoomed = useMemo(() => resolvePath(flame, state.zoom), [flame, state.zoom]);
  const selected = useMemo(() => (state.fn === "" ? -1 : flame.names.findIndex((name) => hashName(name) === state.fn)), [flame, state.fn]);
  const field = useRef<HTMLInputElement>(null);
  const sides = flame.sides!;
  // Scaled to be alike, totals would tell nothing: what was measured stands here. Two that were not measured for as
  // long as each other grew by what they are a second.
  const totals = { before: sides.before.total[ROOT]! / scale.before, after: sides.after.total[ROOT]! / scale.after };
  const rates = state.norm !== "none" && measured ? { before: totals.before / measured.before, after: totals.after / measured.after } : null;
  const change = changeOf(rates?.before ?? totals.before, rates?.after ?? totals.after);
  const sum = (side: "before" | "after") => (
    <span>
      {text.compare[side]} <strong>{formatValue(totals[side], sampleUnit)}</strong>
      {rates && measured && !isLevel(measured.type) && <span className="soft"> {formatRate(perSecond(measured.type, totals[side], measured[side] / 1000), rateOf(measured.type))}</span>}
    </span>
  );
  const zoom = (node: number) => go({ zoom: encodePath(flame, node) });
  const select = (name: number) => go({ fn: name < 0 ? "" : hashName(flame.names[name]!) });
  const table = (
    <DiffTable
      flame={flame}
      sampleUnit={sampleUnit}
      weight={weight}
      search={found}
      selected={selected}
      onSelect={select}
      actions={(name) => nameActions(flame.names[name]!, state, go, links).slice(1)}
    />
  );
  return (
    <>
      <p className="compare-sum" role="status">
        {sum("before")}
        {sum("after")}
        <strong className={toneOf(change)}>{growthName(change)}</strong>
        {state.norm !== "none" && <span className="soft">{text.compare.normed[state.norm]}</span>}
      </p>
      <div className="panel-bar">
        <SearchField field={field} value={pattern} onChange={setPattern} found={found} flame={flame} />
        <span className="grow" />
        <div className="group view-switch" role="group" aria-label={text.explore.view}>
          {LAYOUTS.map((layout) => (
            <button key={layout} type="button" className="button" aria-pressed={state.layout === layout} onClick={() => go({ layout })}>
              {text.compare.layouts[layout]}
            </button>
          ))}
        </div>
        <Options state={state} go={go} modes={["growth", "delta", "package"]} />
        <ExportMenu source={{ title, flame, state, sampleUnit, stale, hasGraph: state.layout !== "table" }} />
      </div>
      {!isPlain(state) && <ShapeChips names={whole.names} state={state} go={go} />}
      {state.layout === "diff" && <Breadcrumb flame={flame} zoomed={zoomed} sampleUnit={sampleUnit} onZoom={zoom} />}
      <div className="views" aria-busy={stale} data-nodes={nodeCount(flame)}>
        {state.layout === "diff" && (
          <FlameGraph
            flame={flame}
            label={text.compare.graph}
            sampleUnit={sampleUnit}
            search={found}
            zoomed={zoomed}
            selected={selected}
            colors={state.colors === "self" ? "growth" : state.colors}
            grows={state.grows}
            onZoom={zoom}
            onSearch={() => field.current?.focus()}
            actions={(node) => nodeActions(flame, node, state, go, links).filter(({ label }) => label !== text.actions.sandwich)}
          />
        )}
        {state.layout === "sides" && <SidesView before={before} after={after} sampleUnit={sampleUnit} state={state} go={go} />}
        {state.layout !== "sides" && table}
      </div>
    </>
  );
}
