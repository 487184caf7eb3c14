import type { Single, Singles } from "../api/singles";
import { visible } from "../flamegraph/label";
import { SERVICE_LABEL } from "../profile/selector";
import { formatSpan } from "../profile/time";
import { clock } from "../shell/clock";
import { text } from "../text";

interface Props {
  singles: Single[];
  of: Singles;
  /** The one whose flame graph is shown. */
  one: string;
  format: (value: number) => string;
  /** Where the server has one as pprof. */
  pprof: (id: string) => string;
  onChoose: (id: string) => void;
}

/** Profiles or spans, one a row. */
export function SinglesTable({ singles, of, one, format, pprof, onChoose }: Props) {
  const columns = text.heatmap.columns;
  return (
    <div className="singles" tabIndex={0} role="region" aria-label={text.heatmap.list[of]}>
      <table>
        <thead>
          <tr>
            <th scope="col">{columns.time}</th>
            <th scope="col" className="singles-number">
              {columns.value}
            </th>
            {of === "profiles" && (
              <th scope="col" className="singles-number">
                {columns.duration}
              </th>
            )}
            <th scope="col">{columns.labels}</th>
            <th scope="col">{columns.act}</th>
          </tr>
        </thead>
        <tbody>
          {singles.map((single) => (
            // A span is there once for each of its profiles.
            <tr key={`${single.id} ${single.time}`} aria-selected={single.id === one}>
              <td className="singles-time">{clock.moment(single.time)}</td>
              <td className="singles-number">
                <strong>{format(single.total)}</strong>
              </td>
              {of === "profiles" && <td className="singles-number">{single.duration > 0 ? formatSpan(single.duration) : "–"}</td>}
              <td className="singles-labels mono">{labelsOf(single, of)}</td>
              <td className="singles-act">
                <button type="button" className="button quiet" aria-pressed={single.id === one} onClick={() => onChoose(single.id)}>
                  {text.heatmap.show}
                </button>
                <a className="button quiet" href={pprof(single.id)} download={`${single.id}.pb.gz`}>
                  {text.heatmap.pprof}
                </a>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function labelsOf(single: Single, of: Singles): string {
  const named = Object.entries(single.labels).filter(([name]) => name !== SERVICE_LABEL);
  const labels = named.map(([name, value]) => `${visible(name)}=${visible(value)}`).join(" ");
  return of === "spans" ? [single.id, labels].filter(Boolean).join(" · ") : labels;
}
