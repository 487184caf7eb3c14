import { ApiError } from "../api/client";
import { text } from "../text";
import { askAgain } from "./connection";

/** What went wrong, in the server's words, and a way on. */
export function Failure({ error }: { error: Error }) {
  return (
    <div className="notice failed" role="alert">
      <div className="grow">
        <strong>{text.errors.title}</strong>
        <p>{error.message}</p>
        {error instanceof ApiError && error.status > 0 && (
          <p className="soft mono">
            {error.code} ({error.status})
            {error.requestId !== "" && ` · ${text.errors.requestId(error.requestId)}`}
          </p>
        )}
      </div>
      <button type="button" className="button" onClick={askAgain}>
        {text.errors.retry}
      </button>
    </div>
  );
}
