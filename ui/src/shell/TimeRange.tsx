import { type FormEvent, useEffect, useRef, useState } from "react";
import { formatIso, formatSpan, inLink, isLive, parseRange, parseTime } from "../profile/time";
import { text } from "../text";
import { withinWindow } from "../views/within-window";
import { clock, useZone } from "./clock";
import { chooseFollow, FOLLOWS, type Follow, useFollow } from "./follow";

const QUICK = ["now-5m", "now-15m", "now-1h", "now-6h", "now-24h", "now-7d", "now-30d", "now-90d", "now-365d"];

interface Props {
  from: string;
  until: string;
  onChange: (from: string, until: string) => void;
  onRefresh: () => void;
}

/** What the range is called: quick ranges by their length, others by their times. */
export function rangeName(from: string, until: string): string {
  const span = /^now-(\d+)([smhdw])$/.exec(from);
  if (until === "now" && span) {
    const range = parseRange(from, "now", 0);
    if (range) return text.range.quick(formatSpan(-range.from));
  }
  const range = isLive(from) || isLive(until) ? undefined : (parseRange(from, until, 0) ?? undefined);
  const shown = (time: string) => {
    const ms = isLive(time) ? null : parseTime(time, 0);
    return ms === null ? time : clock.minute(ms, range);
  };
  return `${shown(from)} – ${shown(until)}`;
}

export function TimeRange({ from, until, onChange, onRefresh }: Props) {
  const [open, setOpen] = useState(false);
  const follow = useFollow();
  useZone();
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    const close = (event: Event) => {
      const outside = event instanceof PointerEvent && !root.current?.contains(event.target as Node);
      const escape = event instanceof KeyboardEvent && event.key === "Escape";
      if (outside || escape) setOpen(false);
      if (escape) button.current?.focus();
    };
    document.addEventListener("pointerdown", close);
    document.addEventListener("keydown", close);
    return () => {
      document.removeEventListener("pointerdown", close);
      document.removeEventListener("keydown", close);
    };
  }, [open]);

  return (
    <div className="range" ref={root}>
      <button ref={button} type="button" className="button" aria-expanded={open} aria-label={`${text.range.label}: ${rangeName(from, until)}`} onClick={() => setOpen(!open)}>
        {rangeName(from, until)}
      </button>
      {isLive(until) && (
        <button type="button" className="button" onClick={onRefresh}>
          {follow === "" ? text.range.refresh : text.range.following(follow)}
        </button>
      )}
      {open && (
        <Panel
          from={from}
          until={until}
          onChoose={(nextFrom, nextUntil) => {
            setOpen(false);
            button.current?.focus();
            onChange(nextFrom, nextUntil);
          }}
        />
      )}
    </div>
  );
}

interface PanelProps {
  from: string;
  until: string;
  onChoose: (from: string, until: string) => void;
}

function Panel({ from, until, onChoose }: PanelProps) {
  const [start, setStart] = useState(typed(from));
  const [end, setEnd] = useState(typed(until));
  const [problem, setProblem] = useState(false);
  const zone = useZone();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (parseRange(start, end, Date.now(), zone) === null) setProblem(true);
    else onChoose(inLink(start, zone), inLink(end, zone));
  };
  return (
    <div ref={withinWindow} className="range-panel">
      <div className="range-quick">
        {QUICK.map((quick) => (
          <button key={quick} type="button" className="button" aria-pressed={from === quick && until === "now"} onClick={() => onChoose(quick, "now")}>
            {formatSpan(-(parseRange(quick, "now", 0)?.from ?? 0))}
          </button>
        ))}
      </div>
      <label className="range-follow">
        {text.range.follow}
        <select className="select" value={useFollow()} onChange={(event) => chooseFollow(event.target.value as Follow)}>
          {FOLLOWS.map((each) => (
            <option key={each} value={each}>
              {text.range.follows[each]}
            </option>
          ))}
        </select>
      </label>
      <form className="range-own" onSubmit={submit}>
        <label>
          {text.range.from}
          <input className="input" value={start} onChange={(event) => setStart(event.target.value)} autoComplete="off" spellCheck={false} />
        </label>
        <label>
          {text.range.until}
          <input className="input" value={end} onChange={(event) => setEnd(event.target.value)} autoComplete="off" spellCheck={false} />
        </label>
        <p className={problem ? "range-problem" : "soft"} role={problem ? "alert" : undefined}>
          {problem ? text.range.invalid : text.range.hint(text.nav.zones[zone])}
        </p>
        <button type="submit" className="button primary">
          {text.range.apply}
        </button>
      </form>
    </div>
  );
}

function typed(time: string): string {
  return /^\d{13}$/.test(time) ? formatIso(Number(time)) : time;
}
