// What a link says that cannot be read. Nothing is shown in its place: it would pass for what was asked for.

import { visible } from "../flamegraph/label";
import { parseProfileType } from "../profile/profile-type";
import { parseRange } from "../profile/time";
import { text } from "../text";
import { DEFAULT_FROM, DEFAULT_UNTIL, type QueryState } from "../url/state";

type Asked = Pick<QueryState, "from" | "until"> & Partial<QueryState>;

interface Problem {
  said: string;
  way: string;
  undo: Partial<QueryState>;
}

/** What of the state cannot be read, each with a way on. */
export function unreadOf({ from, until, unread, type = "" }: Asked): Problem[] {
  const problems: Problem[] = [];
  if (parseRange(from, until, Date.now()) === null) problems.push({ said: text.unread.range(`${from} – ${until}`), way: text.unread.lastHour, undo: { from: DEFAULT_FROM, until: DEFAULT_UNTIL } });
  if (unread !== undefined) problems.push({ said: text.unread.labels(unread), way: text.unread.noLabels, undo: { filters: [], unread: undefined } });
  if (type !== "" && parseProfileType(type) === null) problems.push({ said: text.unread.type(type), way: text.unread.firstType, undo: { type: "" } });
  return problems;
}

export function Unreadable({ problems, go }: { problems: Problem[]; go: (change: Partial<QueryState>) => void }) {
  return problems.map(({ said, way, undo }) => (
    <div key={said} className="notice failed" role="alert">
      <strong className="grow">{visible(said)}</strong>
      <button type="button" className="button" onClick={() => go(undo)}>
        {way}
      </button>
    </div>
  ));
}
