import type { ScanCost } from "../api/client";
import { text } from "../text";

export type Cost = ScanCost;

/** Says when an answer lacks what could not be read. */
export function PartialNotice({ cost }: { cost: Cost }) {
  if (cost.partial === "") return null;
  return (
    <div className="notice failed" role="status">
      <div>
        <strong>{text.errors.partial}</strong>
        <p>{cost.partial}</p>
      </div>
    </div>
  );
}
