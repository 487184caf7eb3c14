import type { Service } from "../api/queries";
import { visible } from "../flamegraph/label";
import { kindOf, type ProfileType, rateOf } from "../profile/profile-type";
import { meanOf, type Timeline } from "../profile/timeline";
import { formatRate } from "../profile/units";
import { text } from "../text";
import { followLink } from "../url/navigation";
import { exploreUrl } from "../url/state";
import { Sparkline } from "./Sparkline";

const MOST_TYPES = 6;

interface Props {
  service: Service;
  /** undefined while it is asked for, null when there is none. */
  timeline: Timeline | null | undefined;
  from: string;
  until: string;
  meanHint: string;
}

export function ServiceCard({ service, timeline, from, until, meanHint }: Props) {
  const main = service.types[0]!;
  const link = (type: ProfileType) => exploreUrl({ service: service.name, type: type.id, from, until });
  const mean = timeline ? meanOf(timeline) : null;
  return (
    <li className="card">
      <a className="card-main" href={link(main)} onClick={followLink}>
        <h2 title={visible(service.name)}>{visible(service.name)}</h2>
        <div className="card-figure">
          <span className="soft">{text.kinds[kindOf(main)]}</span>
          {mean !== null && <strong>{formatRate(mean, rateOf(main))}</strong>}
          {mean !== null && <span className="soft">{meanHint}</span>}
        </div>
        {timeline === undefined ? (
          <div className="sparkline skeleton" />
        ) : timeline === null || mean === null ? (
          <div className="sparkline soft">{text.services.noPoints}</div>
        ) : (
          <Sparkline timeline={timeline} label={text.services.trend(text.kinds[kindOf(main)])} />
        )}
      </a>
      <ul className="card-types">
        {service.types.slice(0, MOST_TYPES).map((type) => (
          <li key={type.id}>
            <a href={link(type)} onClick={followLink} title={type.id} aria-label={text.services.open(`${type.name} ${type.sampleType}`, service.name)}>
              {type.sampleType}
            </a>
          </li>
        ))}
        {service.types.length > MOST_TYPES && <li className="soft">{text.services.moreTypes(service.types.length - MOST_TYPES)}</li>}
      </ul>
    </li>
  );
}
