import { text } from "../text";
import { useConnection } from "./connection";

/** A server that restarts under an open page: what is shown stays, and the page says so. */
export function ConnectionNotice() {
  const state = useConnection();
  if (state === "fine") return null;
  return (
    <p className={`connection ${state}`} role="status">
      {state === "away" ? text.errors.away : text.errors.back}
    </p>
  );
}
