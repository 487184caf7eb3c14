import { ApiError } from "../api/client";
import { text } from "../text";

/** What went wrong, in the server's words, and a way on. */
export function Failure({ error, onRetry }: { error: Error; onRetry: () => void }) {
  return (
    <div className="notice failed" role="alert">
      <div className="grow">
        <strong>{text.errors.title}</strong>
        <p>{error.message}</p>
        {error instanceof ApiError && error.status > 0 && (
          <p className="soft mono">
            {error.code} ({error.status})
          </p>
        )}
      </div>
      <button type="button" className="button" onClick={onRetry}>
        {text.errors.retry}
      </button>
    </div>
  );
}
