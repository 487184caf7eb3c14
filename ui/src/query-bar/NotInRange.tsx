// Nothing in the range that is looked at, though something was sent for other times: where that is.

import { newestProfiles } from "../api/course";
import { type Service, services as askServices } from "../api/queries";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { selectorOf } from "../profile/selector";
import { formatIso, type Range, wholeSecond } from "../profile/time";
import { clock } from "../shell/clock";
import { text } from "../text";

const DAY_MS = 86_400_000;
/** Files that people keep are older than any retention; in nanoseconds, earlier times have too few digits. */
const FIRST = Date.UTC(2002, 0, 1);
/** Around the newest profile so much is shown. */
const AROUND_MS = 1_800_000;
/** Of many services so many types are asked for their newest profile. */
const MOST_TYPES = 8;

/** Of all time; the day is the question's, so that it is asked once. */
export function ever(): Range {
  return { from: FIRST, until: (Math.floor(Date.now() / DAY_MS) + 1) * DAY_MS };
}

/** When the newest profile of any of `services` began, milliseconds; null when there is none. */
export async function newestOf(services: Service[], selector: string, signal: AbortSignal): Promise<number | null> {
  const types = new Map(services.flatMap(({ types }) => types.map((type) => [type.id, type] as const)));
  const found = await Promise.all([...types.values()].slice(0, MOST_TYPES).map((type) => newestProfiles(type, selector, ever(), 1, signal)));
  const times = found.flat().map(({ time }) => time);
  return times.length === 0 ? null : Math.max(...times);
}

export function aroundIt(time: number): { from: string; until: string } {
  return { from: formatIso(wholeSecond(time - AROUND_MS)), until: formatIso(wholeSecond(time + AROUND_MS)) };
}

interface Props {
  service: string;
  go: (range: { from: string; until: string }) => void;
}

export function NotInRange({ service, go }: Props) {
  const newest = useQuery(`newest ${service}`, async (signal) => {
    const known = (await askServices(ever(), signal)).filter(({ name }) => service === "" || name === service);
    return newestOf(known, selectorOf(service, []), signal);
  });
  const time = newest.data ?? null;
  return (
    <div className="notice">
      <div className="grow">
        <strong>{service === "" ? text.services.emptyRangeTitle : text.explore.notInRange(visible(service))}</strong>
        <p>{time !== null ? text.services.newest(clock.minute(time)) : newest.loading ? "…" : text.explore.noDataHint}</p>
      </div>
      {time !== null && (
        <button type="button" className="button" onClick={() => go(aroundIt(time))}>
          {text.services.lookThere}
        </button>
      )}
    </div>
  );
}
