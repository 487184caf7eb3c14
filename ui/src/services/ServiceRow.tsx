import type { Service } from "../api/queries";
import { visible } from "../flamegraph/label";
import { changeOf } from "../profile/diff";
import { kindOf, type ProfileType, rateOf } from "../profile/profile-type";
import { formatSpan, type Range } from "../profile/time";
import { meanOf } from "../profile/timeline";
import { formatRate, growthName } from "../profile/units";
import { text } from "../text";
import { followLink } from "../url/navigation";
import { exploreUrl } from "../url/state";
import { Sparkline } from "./Sparkline";
import { type Trend, useOwnLine } from "./use-trends";

const MOST_TYPES = 4;
/** Smaller changes are not worth a colour. */
const NOTABLE = 0.05;

interface Props {
  service: Service;
  /** undefined while it is asked for, null when there is none. */
  trend: Trend | null | undefined;
  /** The trend could not be asked for. */
  hasFailed: boolean;
  lastWeek: number | null | undefined;
  range: Range;
  /** There are so many services that the trend is a rough one. */
  isRough: boolean;
  from: string;
  until: string;
}

export function ServiceRow({ service, trend: rough, hasFailed, lastWeek, range, isRough, from, until }: Props) {
  const own = useOwnLine(service, range, isRough);
  const trend = rough && own ? { ...rough, line: own } : rough;
  const main = service.types[0]!;
  const link = (type: ProfileType) => exploreUrl({ service: service.name, type: type.id, from, until });
  const kind = text.kinds[kindOf(main)];
  const mean = trend ? meanOf(trend.line) : null;
  const rest = service.types.length - MOST_TYPES;
  return (
    <>
      <div className="service-name">
        <h2 title={visible(service.name)}>
          <a href={link(main)} onClick={followLink}>
            {visible(service.name)}
          </a>
        </h2>
        <div className="service-types">
          {service.language && <span className="service-language">{visible(service.language)}</span>}
          {service.types.slice(0, MOST_TYPES).map((type) => (
            <a key={type.id} href={link(type)} onClick={followLink} title={type.id} aria-label={text.services.open(`${type.name} ${type.sampleType}`, service.name)}>
              {visible(type.sampleType)}
            </a>
          ))}
          {rest > 0 && <span>{text.services.moreTypes(rest)}</span>}
        </div>
      </div>
      {trend === undefined ? (
        <div className="sparkline skeleton" />
      ) : trend === null || mean === null ? (
        <div className="sparkline soft">{hasFailed ? text.services.notKnown : text.services.noPoints}</div>
      ) : (
        <Sparkline timeline={trend.line} label={text.services.trend(kind)} />
      )}
      <div className="service-figure">
        <strong>{mean === null ? "–" : formatRate(mean, rateOf(main))}</strong>
        <span className="soft">{kind}</span>
      </div>
      <div className="service-change">{trend && lastWeek !== undefined && <Week now={trend.sum} then={lastWeek} />}</div>
      <div className="service-seen soft">{trend && text.services.seen(formatSpan(Math.max(1000, Math.floor((range.until - trend.lastSeen) / 1000) * 1000)))}</div>
    </>
  );
}

function Week({ now, then }: { now: number; then: number | null }) {
  if (then === null || then === 0) return <span className="soft">{text.services.noWeek}</span>;
  const change = changeOf(then, now);
  const tone = change.growth !== null && Math.abs(change.growth) < NOTABLE ? "soft" : change.delta > 0 ? "more" : "less";
  return (
    <>
      <span className={tone}>{growthName(change)}</span> <span className="soft">{text.services.week}</span>
    </>
  );
}
