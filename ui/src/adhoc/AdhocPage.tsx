// Files that are looked at without being stored: drop one to see it, drop two to compare them.

import { type DragEvent, useEffect, useMemo, useRef, useState } from "react";
import { openOnServer, readOnServer } from "../api/adhoc";
import { ask } from "../api/client";
import { DiffView } from "../compare/DiffView";
import "../compare/compare.css";
import { visible } from "../flamegraph/label";
import { type AdHoc, type AdHocType, NotKnown, readAny, shownUnit } from "../profile/adhoc";
import { diffFlames, NORMS, type Norm, scaleOf } from "../profile/diff";
import { writeFolded } from "../profile/folded";
import { unitOf } from "../profile/units";
import { text } from "../text";
import { amend, useSearch, visit } from "../url/navigation";
import { adhocUrl, exploreUrl, readCompare, readFiles, readView, type ViewState } from "../url/state";
import { copyText } from "../views/copy";
import { ProfileView } from "../views/ProfileView";
import "./adhoc.css";

/** Larger files are refused before they are read. */
const MOST_FILE_BYTES = 256 * 2 ** 20;

/** Whether the component is still there: what ends later must not lead a reader back who has gone on. */
function useThere(): { readonly current: boolean } {
  const there = useRef(true);
  useEffect(() => {
    there.current = true;
    return () => {
      there.current = false;
    };
  }, []);
  return there;
}

export function AdhocPage() {
  const search = useSearch();
  const there = useThere();
  const [files, setFiles] = useState<AdHoc[]>([]);
  const [problem, setProblem] = useState("");
  const [over, setOver] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = [text.adhoc.title, ...files.map((file) => visible(file.fileName)), text.product].join(" · ");
  }, [files]);

  const shared = readFiles(search);
  const sharedKey = shared.join(" ");
  useEffect(() => {
    if (shared.length === 0 || sharedKey === idsOf(files).join(" ")) return;
    setProblem("");
    Promise.all(shared.map(openOnServer)).then(
      (opened) => there.current && setFiles(opened),
      (error: unknown) => there.current && setProblem(messageOf(error)),
    );
  }, [sharedKey]);

  const take = async (chosen: FileList | null) => {
    if (!chosen || chosen.length === 0) return;
    setProblem("");
    try {
      const read: AdHoc[] = [];
      for (const file of [...chosen].slice(0, 2)) {
        if (file.size > MOST_FILE_BYTES) throw new Error(text.adhoc.tooLarge(visible(file.name), MOST_FILE_BYTES / 2 ** 20));
        try {
          read.push(await readHereOrThere(file.name, new Uint8Array(await file.arrayBuffer())));
        } catch (error) {
          throw new Error(`${visible(file.name)}: ${messageOf(error)}`);
        }
      }
      if (!there.current) return;
      const shown = read.length === 2 ? read : [...files, ...read].slice(-2);
      setFiles(shown);
      amend(adhocUrl({}, idsOf(shown)));
    } catch (error) {
      setProblem(messageOf(error));
    }
  };
  const show = (next: AdHoc[]) => {
    setFiles(next);
    visit(adhocUrl({}, idsOf(next)));
  };
  const onDrop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    void take(event.dataTransfer.files);
  };

  return (
    <main
      className="page"
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={onDrop}
    >
      <h1>{text.adhoc.title}</h1>
      <div className={`drop${over ? " over" : ""}${files.length > 0 ? " small" : ""}`}>
        <p>{files.length === 0 ? text.adhoc.drop : files.length === 1 ? text.adhoc.dropSecond : text.adhoc.dropOthers}</p>
        <p className="soft">{text.adhoc.forms}</p>
        <button type="button" className="button primary" onClick={() => input.current?.click()}>
          {text.adhoc.choose}
        </button>
        <input
          ref={input}
          className="for-screen-readers"
          type="file"
          multiple
          tabIndex={-1}
          aria-label={text.adhoc.choose}
          onChange={(event) => {
            void take(event.target.files);
            event.target.value = "";
          }}
        />
      </div>
      {problem && (
        <div className="notice failed" role="alert">
          <div>
            <strong>{text.adhoc.failed}</strong>
            <p>{problem}</p>
          </div>
        </div>
      )}
      {files.length === 1 && <Single file={files[0]!} search={search} onChange={show} />}
      {files.length === 2 && <Pair before={files[0]!} after={files[1]!} search={search} onChange={show} />}
    </main>
  );
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** What the server keeps the files under; nothing when it does not keep all of them. */
function idsOf(files: AdHoc[]): string[] {
  const ids = files.flatMap(({ id }) => id ?? []);
  return ids.length === files.length ? ids : [];
}

async function readHereOrThere(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<AdHoc> {
  try {
    return await readAny(name, bytes);
  } catch (error) {
    if (!(error instanceof NotKnown)) throw error;
    return readOnServer(name, bytes);
  }
}

/** Has the server keep the files, so that their address shows them to others. */
function Share({ files, onChange }: { files: AdHoc[]; onChange: (files: AdHoc[]) => void }) {
  const [state, setState] = useState<"idle" | "sending" | "done" | { problem: string }>("idle");
  // The server reads no bare call trees.
  if (files.some(({ format }) => format === "tree")) return null;
  const share = async () => {
    setState("sending");
    try {
      const kept = await Promise.all(files.map(async (file) => (file.id ? file : { ...file, id: (await readOnServer(file.fileName, file.bytes)).id! })));
      onChange(kept);
      copyText(location.origin + adhocUrl({}, idsOf(kept)));
      setState("done");
    } catch (error) {
      setState({ problem: messageOf(error) });
    }
  };
  return (
    <>
      {typeof state === "object" && (
        <span className="more" role="alert">
          {state.problem}
        </span>
      )}
      <button type="button" className="button" disabled={state === "sending"} title={text.adhoc.shareHint} onClick={() => void share()}>
        {state === "done" ? text.adhoc.shared : text.adhoc.share}
      </button>
    </>
  );
}

function Single({ file, search, onChange }: { file: AdHoc; search: string; onChange: (files: AdHoc[]) => void }) {
  const [index, setIndex] = useState(file.usual);
  useEffect(() => setIndex(file.usual), [file]);
  const type = file.types[index] ?? file.types[0]!;
  const state = readView(search);
  const write = (change: Partial<ViewState>) => adhocUrl({ ...state, ...change }, idsOf([file]));
  return (
    <section className="panel" aria-label={visible(file.fileName)}>
      <div className="panel-bar">
        <h2 className="mono">{visible(file.fileName)}</h2>
        <TypeOf file={file} index={index} onChange={setIndex} />
        <span className="grow" />
        <Share files={[file]} onChange={onChange} />
        <Store file={file} type={type} />
        <button type="button" className="button quiet" onClick={() => onChange([])}>
          {text.adhoc.close}
        </button>
      </div>
      <ProfileView
        key={index}
        flame={type.flame}
        sampleUnit={shownUnit(type.unit)}
        state={state}
        stale={false}
        go={(change) => visit(write(change))}
        amend={(change) => amend(write(change))}
        links={{}}
        source={{ title: file.fileName }}
      />
    </section>
  );
}

function Pair({ before, after, search, onChange }: { before: AdHoc; after: AdHoc; search: string; onChange: (files: AdHoc[]) => void }) {
  const [index, setIndex] = useState(after.usual);
  const [norm, setNorm] = useState<Norm>("total");
  const [layout, setLayout] = useState(readCompare("").layout);
  const state = { ...readCompare(search), layout, norm };
  const type = after.types[index] ?? after.types[0]!;
  const same = before.types.find((each) => each.name === type.name && each.unit === type.unit);
  const other = same ?? before.types[before.usual]!;
  const scale = useMemo(
    () => scaleOf(norm, { total: other.flame.total[0]!, ms: before.durationMs }, { total: type.flame.total[0]!, ms: after.durationMs }),
    [norm, other, type],
  );
  const flame = useMemo(() => diffFlames(other.flame, type.flame, scale), [other, type, scale]);
  const write = (change: Partial<typeof state>) => {
    if (change.layout) setLayout(change.layout);
    return adhocUrl({ ...state, ...change }, idsOf([before, after]));
  };
  return (
    <section className="panel" aria-label={text.compare.result}>
      <div className="panel-bar">
        <h2 className="mono adhoc-names">
          <span className="less">{visible(before.fileName)}</span> → <span className="more">{visible(after.fileName)}</span>
        </h2>
        <TypeOf file={after} index={index} onChange={setIndex} />
        <select className="select" aria-label={text.compare.norm} value={norm} onChange={(event) => setNorm(event.target.value as Norm)}>
          {NORMS.map((each) => (
            <option key={each} value={each}>
              {text.compare.norms[each]}
            </option>
          ))}
        </select>
        <span className="grow" />
        <Share files={[before, after]} onChange={onChange} />
        <button type="button" className="button quiet" onClick={() => onChange([after])}>
          {text.adhoc.keepOne}
        </button>
      </div>
      {!same && <p className="notice">{text.adhoc.otherTypes}</p>}
      <DiffView
        key={index}
        flame={flame}
        before={other.flame}
        after={type.flame}
        scale={scale}
        sampleUnit={shownUnit(type.unit)}
        state={state}
        stale={false}
        go={(change) => visit(write(change))}
        amend={(change) => amend(write(change))}
        title={`${before.fileName} ${after.fileName}`}
      />
    </section>
  );
}

function TypeOf({ file, index, onChange }: { file: AdHoc; index: number; onChange: (index: number) => void }) {
  if (file.types.length < 2) return null;
  return (
    <select className="select" aria-label={text.explore.type} value={index} onChange={(event) => onChange(Number(event.target.value))}>
      {file.types.map((type, i) => (
        <option key={i} value={i}>
          {text.typeDetail(visible(type.name), visible(type.unit))}
        </option>
      ))}
    </select>
  );
}

/**
 * Sends the profile to the server, so that it can be found again and shared by a link: pprof as it is, the
 * rest as folded stacks.
 */
function Store({ file, type }: { file: AdHoc; type: AdHocType }) {
  const [state, setState] = useState<"idle" | "sending" | { problem: string }>("idle");
  const there = useThere();
  const { unit, factor } = unitOf(type.unit);
  const isPprof = file.format === "pprof";
  if (file.bytes.length === 0 || (!isPprof && unit === "bytes")) return null;
  const store = async () => {
    setState("sending");
    const service = `adhoc-${file.fileName.replace(/\.(pb|gz|pprof|txt|folded|json)\b/g, "").replace(/[^\w.-]+/g, "-").slice(0, 60)}`;
    const seconds = Math.floor(Date.now() / 1000);
    const query = new URLSearchParams({
      name: service,
      format: isPprof ? "pprof" : "folded",
      from: String(seconds - 10),
      until: String(seconds),
      ...(isPprof || unit !== "duration" ? {} : { sampleRate: String(1e9 / factor) }),
    });
    const body = isPprof ? file.bytes : writeFolded(type.flame);
    try {
      await ask(`/ingest?${query}`, { method: "POST", body });
      if (there.current) visit(exploreUrl({ service, from: "now-15m" }));
    } catch (error) {
      setState({ problem: error instanceof Error ? error.message : String(error) });
    }
  };
  return (
    <>
      {typeof state === "object" && (
        <span className="more" role="alert">
          {state.problem}
        </span>
      )}
      <button type="button" className="button" disabled={state === "sending"} onClick={() => void store()}>
        {text.adhoc.store}
      </button>
    </>
  );
}
